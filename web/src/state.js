// state.js - what this tab knows of the rack, as signals, kept true by the event stream.
//
// An event says what changed, never how it is now: each marks what has to be read again.  Marks made while a read is under
// way cause another one, so the last read always began after the last event.  Reads are bundled (a burst of 200 attachments
// is a few reads, not 200), and a hidden tab reads when it is looked at again.  Nothing is ever read on a timer.
import { batch, computed, signal } from '@preact/signals';

import { api } from './api.js';
import { connectStream } from './stream/client.js';

export const me = signal(undefined); // undefined: not known yet; null: signed out; else { role, name }
export const stream = signal({ state: 'idle', since: Date.now() });
export const nodes = signal(null); // Map by name; null: not read yet
export const attachments = signal(null); // Map by id
export const circuits = signal([]);
export const topology = signal(null);
export const status = signal(null);
export const events = signal([]); // newest first
export const trouble = signal(null); // the problem of the last read that failed

export const mayWrite = computed(() => me.value?.role === 'operator' || me.value?.role === 'admin');
export const liveAttachments = computed(() =>
    [...(attachments.value?.values() ?? [])].filter((a) => !hasEnded(a)).sort(byAge),
);
export const endedAttachments = computed(() =>
    [...(attachments.value?.values() ?? [])].filter(hasEnded).sort(byAge),
);

const EVENTS_KEPT = 500;
const GAP_MS = 120;
const RETRY_MS = 2000;

/* What a node would lend if somebody asked now; its 'lendable_bytes' says what it has, whatever state it is in. */
export const lendableNow = (node) => (node.state === 'ready' && !node.cordoned ? node.lendable_bytes : 0);

export function hasEnded(a) {
    return a.state === 'detached' || a.state === 'failed' || (a.state === 'lost' && !a.holds?.length);
}

/* What a circuit's danger comes from, each in a few words. */
export const dangerCauses = (danger) => [
    ...danger.adapters.map((x) => `adapter ${x.node}/${x.adapter} is in error`),
    ...danger.links.map((l) => `${l.a} – ${l.b} is down`),
];

/* What endangers memory that is borrowed, in a few words: a node that does not report, a link that is down or an adapter
 * in error under it. */
export function worryOf(a) {
    if (hasEnded(a))
        return '';
    const away = [a.compute_node, a.donor].map((name) => nodes.value?.get(name)).find((n) => n && n.state !== 'ready');
    const danger = circuits.value.find((c) => c.id === a.circuit)?.danger;
    return away ? `${away.name} is ${away.state}` : danger ? dangerCauses(danger)[0] : '';
}

function byAge(a, b) {
    return b.created_at < a.created_at ? -1 : b.created_at > a.created_at ? 1 : a.id < b.id ? -1 : 1;
}

const byName = (items) => new Map(items.map((item) => [item.name, item]));

// ---- reading

function bundled(read, gapMs = GAP_MS) {
    let marked = false;
    let busy = false;
    async function run() {
        busy = true;
        while (marked && me.value) {
            await untilVisible();
            marked = false;
            try {
                await read();
                trouble.value = null;
                await pause(gapMs);
            } catch (error) {
                failed(error);
                marked ||= stream.value.state === 'live'; // otherwise everything is read when it is live again
                await pause(RETRY_MS);
            }
        }
        busy = false;
    }
    return () => {
        marked = true;
        if (!busy)
            run();
    };
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

function untilVisible() {
    if (!document.hidden)
        return undefined;
    return new Promise((done) => document.addEventListener('visibilitychange', done, { once: true }));
}

function failed(error) {
    if (error.status === 401)
        signedOut();
    else
        trouble.value = error.problem ?? { title: String(error) };
}

const changedAttachments = new Set();
let allAttachments = false;

const read = {
    nodes: bundled(async () => {
        nodes.value = byName((await api.nodes()).items);
    }, 400),
    topology: bundled(async () => {
        topology.value = await api.topology();
    }, 250),
    circuits: bundled(async () => {
        circuits.value = (await api.circuits()).items;
    }),
    status: bundled(async () => {
        status.value = await api.status();
    }),
    attachments: bundled(async () => {
        const ids = [...changedAttachments];
        const all = allAttachments || ids.length > 6;
        changedAttachments.clear();
        allAttachments = false;
        if (all)
            await readAllAttachments();
        else
            await Promise.all(ids.map(readAttachment));
    }),
    events: bundled(async () => {
        const { as_of: newest, items: oldest } = await api.eventsAfter(0, 1);
        const beforeOldest = oldest.length ? oldest[0].id - 1 : newest;
        const { items } = await api.eventsAfter(Math.max(beforeOldest, newest - EVENTS_KEPT), EVENTS_KEPT);
        addEvents(items);
    }),
};

async function readAllAttachments() {
    const { items } = await api.attachments();
    const before = attachments.value;
    attachments.value = new Map(items.map((a) => [a.id, { timeline: before?.get(a.id)?.timeline, ...a }]));
}

async function readAttachment(id) {
    let one = null;
    try {
        one = await api.attachment(id);
    } catch (error) {
        if (error.status !== 404)
            throw error;
    }
    const next = new Map(attachments.value);
    if (one)
        next.set(id, one);
    else
        next.delete(id);
    attachments.value = next;
}

/* Reads this attachment again, timeline included. */
export function refreshAttachment(id) {
    changedAttachments.add(id);
    read.attachments();
}

export function refreshNodes() {
    read.nodes();
}

function readEverything() {
    allAttachments = true;
    Object.values(read).forEach((again) => again());
}

// ---- events

function addEvents(list) {
    const seen = new Set(events.value.map((e) => e.id));
    const fresh = list.filter((e) => !seen.has(e.id));
    if (fresh.length)
        events.value = [...fresh, ...events.value].sort((a, b) => b.id - a.id).slice(0, EVENTS_KEPT);
}

function onEvent(event) {
    const [kind, ...rest] = event.object.split('/');
    addEvents([event]);
    if (kind === 'attachment')
        refreshAttachment(rest.join('/'));
    if (kind === 'node' || kind === 'adapter' || event.type === 'attachment.state')
        read.nodes();
    if (event.type === 'node.memory' || event.type === 'attachment.progress')
        return;
    if (event.type !== 'attachment.step') {
        read.topology();
        read.circuits();
    }
}

function onMessage(message) {
    if (message.type === 'event')
        onEvent(message.event);
    else if (message.type === 'reset')
        readEverything();
    else
        onStreamState(message);
}

function onStreamState({ state, since }) {
    stream.value = { state, since };
    if (state === 'signed-out')
        signedOut();
    else if (state === 'live' && me.value)
        readEverything();
    else if ((state === 'live' && me.value === null) || (state === 'idle' && me.value))
        askWhoWeAre(); // another tab signed in, or out
}

// ---- who we are

let order = () => {};

export function begin() {
    order = connectStream(onMessage);
    return askWhoWeAre();
}

async function askWhoWeAre() {
    try {
        signedIn(await api.whoami());
    } catch (error) {
        if (error.status === 401 || error.status === 403) {
            signedOut();
        } else {
            trouble.value = error.problem;
            setTimeout(askWhoWeAre, RETRY_MS); // nothing else would tell us that it is back
        }
    }
}

export function signedIn(who) {
    batch(() => {
        me.value = who;
        trouble.value = null;
    });
    if (stream.value.state === 'live')
        readEverything();
    else
        order('start');
}

export async function signOut() {
    try {
        await api.signOut();
    } finally {
        signedOut();
        order('stop');
    }
}

function signedOut() {
    batch(() => {
        me.value = null;
        nodes.value = attachments.value = topology.value = status.value = null;
        circuits.value = [];
        events.value = [];
    });
}
