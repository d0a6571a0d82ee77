// client.js - a tab's end of the event stream: the shared worker's hub, or one of our own where there is no shared worker.
import { createHub } from './hub.js';

/* Calls 'listen' with every message of the hub.  Answers a function that gives the hub an order: 'start' or 'stop'. */
export function connectStream(listen) {
    if (!window.SharedWorker) {
        const hub = createHub();
        hub.join(listen);
        return hub.order;
    }
    const port = new SharedWorker(trustedPath(WORKER_PATH), { name: 'memlane-events' }).port;
    port.onmessage = ({ data }) => listen(data);
    // A page that goes to the back/forward cache is read anew when it comes back: its port is closed for good.
    window.addEventListener('pagehide', () => port.postMessage('bye'));
    window.addEventListener('pageshow', ({ persisted }) => persisted && location.reload());
    return (order) => port.postMessage(order);
}

// The policy allows exactly one script to be named at run time, and nothing else is ever turned into code.
function trustedPath(path) {
    if (!window.trustedTypes)
        return path;
    const policy = trustedTypes.createPolicy('memlane', {
        createScriptURL(asked) {
            if (asked !== WORKER_PATH)
                throw new TypeError(`not a script of ours: ${asked}`);
            return asked;
        },
    });
    return policy.createScriptURL(path);
}
