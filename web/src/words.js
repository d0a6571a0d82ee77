// words.js - what the API's names mean, for people.  A name that is not known here is shown as it is.

export const attachmentStates = {
    pending: { title: 'attaching', tone: 'busy' },
    attached: { title: 'attached', tone: 'good' },
    detaching: { title: 'detaching', tone: 'busy' },
    detached: { title: 'detached', tone: 'quiet' },
    failed: { title: 'failed', tone: 'bad' },
    stuck: { title: 'stuck', tone: 'bad' },
    lost: { title: 'lost', tone: 'bad' },
};

export const nodeStates = {
    ready: { title: 'ready', tone: 'good' },
    new: { title: 'new', tone: 'busy' },
    unreachable: { title: 'unreachable', tone: 'bad' },
    fenced: { title: 'fenced', tone: 'bad' },
    incompatible: { title: 'incompatible agent', tone: 'bad' },
};

export const linkStates = { up: 'up', down: 'down', unknown: 'no signal reported' };

/* The steps of an attach, in order: what is done, and what takes it back. */
export const steps = [
    { name: 'lend', does: 'The donor sets the memory aside', undoes: 'The donor clears and takes back the memory' },
    { name: 'connect', does: 'The circuit is switched and comes up', undoes: 'The circuit is closed' },
    { name: 'map', does: 'The address window is pointed at the donor', undoes: 'The address window is parked' },
    { name: 'online', does: 'Memory blocks come online', undoes: 'Memory blocks go offline' },
];

/* Why a node cannot lend (or cannot borrow): the first rule that it does not pass. */
export const refusals = {
    not_ready: 'is not ready',
    cordoned: 'is cordoned: it lends nothing new',
    not_pinned: 'is not the donor that was asked for',
    avoided: 'was to be avoided',
    anti_affinity: 'shares what must differ, or lacks the label',
    no_memory_adapter: 'has no adapter that lends memory',
    insufficient_memory: 'has too little free memory',
    no_path: 'has no path of cables to this node',
    ports_busy: 'can be reached only over ports that are in use',
    bandwidth: 'has too little bandwidth left on the path',
    too_far: 'is farther away than allowed',
    no_section: 'finds no free place in the address window',
    no_compute_adapter: 'The node has no adapter that borrows memory',
    compute_not_ready: 'The node is not ready to borrow',
};

export const policies = {
    nearest: 'Nearest: the shortest path',
    balanced: 'Balanced: the donor with the largest share free',
    packed: 'Packed: donors that lend already, so that others can be switched off',
    least_loaded: 'Least loaded: the path with the least reserved on it',
};

const problems = {
    no_donor: 'No node can lend this much now',
    size_invalid: 'This size is not possible',
    node_unknown: 'There is no such node',
    unauthorized: 'Not signed in, or the secret is wrong',
    forbidden: 'You may not do this',
    conflict: 'This does not fit the present state',
    too_late: 'Too late: it can no longer be given up',
    unreachable: 'The orchestrator does not answer',
    not_found: 'There is no such thing',
    recovering: 'The orchestrator is recovering: it only answers questions now',
    rate_limited: 'Too many requests: wait a little',
};

/* One sentence for a problem document; its detail is shown beside it. */
export function problemTitle(problem) {
    return problems[problem.code] ?? problem.title ?? 'The request failed';
}

const eventNames = {
    'node.state': 'is now',
    'node.changed': 'changed',
    'node.memory': 'reported its memory',
    'link.state': 'is now',
    'adapter.state': 'is now',
    'lender.lost': 'The lender is',
    'topology.changed': 'Cabling changed',
    'circuit.state': 'is now',
    'circuit.danger': 'is now',
    'attachment.state': 'is now',
    'attachment.progress': 'made progress',
};

const stepVerbs = { do: 'begins', undo: 'takes back', hold: 'waits before it takes back', undone: 'has nothing left of' };

export function eventSentence(event) {
    if (event.type === 'attachment.step')
        return `${stepVerbs[event.from] ?? 'is at'} step “${event.to}”`;
    if (event.type === 'node.registered')
        return 'registered';
    const verb = eventNames[event.type] ?? event.type;
    const state = attachmentStates[event.to]?.title ?? nodeStates[event.to]?.title ?? event.to?.replaceAll('_', ' ');
    return [verb, state].filter(Boolean).join(' ');
}

export function known(table, name) {
    return table[name] ?? { title: name ?? 'unknown', tone: 'quiet' };
}

// What an agent found that somebody should do something about; the rest is good to know.
export const problemsOf = (node) => (node.findings ?? []).filter((f) => f.severity !== 'info');
