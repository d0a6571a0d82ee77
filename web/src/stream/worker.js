// worker.js - the shared worker: every tab of this browser listens to the one hub.  Seven connections of their own would
// use up all that a browser grants to one server.
import { createHub } from './hub.js';

const hub = createHub();

self.onconnect = ({ ports: [port] }) => {
    const post = (message) => port.postMessage(message);
    port.onmessage = ({ data }) => (data === 'bye' ? hub.leave(post) : hub.order(data));
    hub.join(post);
};
