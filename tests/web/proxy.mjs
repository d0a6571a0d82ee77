// proxy.mjs - stands between browser and orchestrator: counts what is asked, and can cut the wire.
import http from 'node:http';

export async function startProxy(target) {
    const to = new URL(target);
    const state = { requests: [], streams: new Set(), sockets: new Set(), cut: false };

    const server = http.createServer((request, response) => {
        if (state.cut) {
            request.socket.destroy();
            return;
        }
        state.requests.push(`${request.method} ${request.url}`);
        const isStream = request.headers.accept === 'text/event-stream';
        const out = http.request(
            { host: to.hostname, port: to.port, method: request.method, path: request.url, headers: request.headers },
            (answer) => {
                response.writeHead(answer.statusCode, answer.headers);
                answer.pipe(response);
            },
        );
        if (isStream)
            state.streams.add(out);
        response.on('close', () => {
            state.streams.delete(out);
            out.destroy();
        });
        out.on('error', () => response.destroy());
        request.pipe(out);
    });
    server.on('connection', (socket) => {
        state.sockets.add(socket);
        socket.on('close', () => state.sockets.delete(socket));
    });
    await new Promise((done) => server.listen(0, '127.0.0.1', done));
    return {
        url: `http://127.0.0.1:${server.address().port}`,
        requests: state.requests,
        streams: () => state.streams.size,
        cut() {
            state.cut = true;
            state.sockets.forEach((socket) => socket.destroy());
        },
        mend() {
            state.cut = false;
        },
        close() {
            state.sockets.forEach((socket) => socket.destroy());
            server.close();
        },
    };
}
