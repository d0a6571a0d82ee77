// route.js - the address after '#' as a signal.  "#/nodes/n1" -> { view: 'nodes', id: 'n1' }; "#/" is the rack.
import { signal } from '@preact/signals';

function parse() {
    const [view = '', id = ''] = location.hash.replace(/^#\/?/, '').split('/');
    return { view, id: safeDecode(id) };
}

function safeDecode(text) {
    try {
        return decodeURIComponent(text);
    } catch {
        return text;
    }
}

export const route = signal(parse());
window.addEventListener('hashchange', reread);

/* Needed only after the address was changed without an event. */
export function reread() {
    route.value = parse();
}

export const nodeAddress = (name) => `#/nodes/${encodeURIComponent(name)}`;
export const attachmentAddress = (id) => `#/attachments/${encodeURIComponent(id)}`;
