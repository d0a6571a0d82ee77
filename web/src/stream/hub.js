// hub.js - the one connection to /v1/events and the tabs that listen to it.
//
// States, told to every tab whenever they change, each with the time since when:
//   idle        no tab asked yet, or signed out on purpose
//   live        connected; every event reaches every tab
//   down        the connection broke; tried again with growing pauses, resumed after the last event seen
//   signed-out  the server does not know this browser (any more); a sign-in starts it again
// The server writes something at least every 10 seconds, so a connection that is silent for 25 seconds is dead, whatever
// TCP believes (a laptop that slept).  That is why this reads the stream itself: an EventSource shows neither those
// comments nor the status of a refusal.  Runs in the shared worker, or in the page where a browser has none.
import { createParser } from './parser.js';

const SILENCE_MS = 25_000;
const PAUSES_MS = [500, 1000, 2000, 4000, 8000];

export function createHub() {
    const tabs = new Set();
    let state = { type: 'state', state: 'idle', since: Date.now() };
    let lastId = null;
    let wanted = false;
    let running = false;
    let abort = null;
    let wake = null;

    const broadcast = (message) => tabs.forEach((post) => post(message));

    function become(name) {
        if (state.state === name)
            return;
        state = { type: 'state', state: name, since: Date.now() };
        broadcast(state);
    }

    function take(message) {
        if (message.id)
            lastId = message.id;
        if (message.event === 'reset')
            broadcast({ type: 'reset' });
        else if (message.data)
            broadcast({ type: 'event', event: JSON.parse(message.data) });
    }

    // One connection, from its first byte to its end.  Answers whether the server knows us.
    async function connection() {
        abort = new AbortController();
        let watchdog;
        const heard = () => {
            clearTimeout(watchdog);
            watchdog = setTimeout(() => abort.abort(), SILENCE_MS);
        };
        heard();
        try {
            const headers = { Accept: 'text/event-stream' };
            if (lastId !== null)
                headers['Last-Event-ID'] = lastId;
            const response = await fetch('/v1/events', { headers, signal: abort.signal, cache: 'no-store' });
            if (response.status === 401 || response.status === 403)
                return false;
            if (!response.ok)
                return true;
            become('live');
            const parse = createParser(take);
            const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
            for (;;) {
                const { value, done } = await reader.read();
                if (done)
                    return true;
                heard();
                parse(value);
            }
        } catch {
            return true;
        } finally {
            clearTimeout(watchdog);
        }
    }

    async function run() {
        running = true;
        for (let failures = 0; wanted; failures++) {
            const known = await connection();
            if (!wanted)
                break;
            if (!known) {
                wanted = false;
                lastId = null;
                become('signed-out');
                break;
            }
            if (state.state === 'live')
                failures = 0;
            become('down');
            await new Promise((done) => {
                wake = done;
                setTimeout(done, PAUSES_MS[Math.min(failures, PAUSES_MS.length - 1)]);
            });
        }
        running = false;
    }

    function start() {
        wanted = true;
        if (!running)
            run();
        else
            wake?.();
    }

    function stop() {
        wanted = false;
        lastId = null;
        abort?.abort();
        wake?.();
        become('idle');
    }

    return {
        /* 'post' is called with every message from now on, beginning with the present state. */
        join(post) {
            tabs.add(post);
            post(state);
        },
        leave: (post) => tabs.delete(post),
        order(name) {
            if (name === 'start')
                start();
            else if (name === 'stop')
                stop();
        },
    };
}
