// parser.js - text/event-stream, piece by piece: calls 'take' with { id, event, data } for each whole message.
export function createParser(take) {
    let rest = '';
    let message = {};

    function line(text) {
        if (text === '') {
            if (message.data !== undefined || message.event !== undefined)
                take(message);
            message = {};
            return;
        }
        const colon = text.indexOf(':');
        if (colon === 0)
            return; // a comment: the heartbeat
        const field = colon < 0 ? text : text.slice(0, colon);
        const value = colon < 0 ? '' : text.slice(colon + 1).replace(/^ /, '');
        if (field === 'data')
            message.data = message.data === undefined ? value : `${message.data}\n${value}`;
        else if (field === 'id' || field === 'event')
            message[field] = value;
    }

    return (piece) => {
        const lines = (rest + piece).split(/\r\n|\n/);
        rest = lines.pop();
        lines.forEach(line);
    };
}
