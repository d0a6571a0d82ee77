// progress.js - how far an attach or a detach is: the steps in order, done, under way, to come.
import { html } from 'htm/preact';

import { hasEnded } from '../state.js';
import { steps } from '../words.js';

const names = steps.map((s) => s.name);

/* The index of the step that is under way.  Before the first: -1 on the way in, behind the last on the way out. */
function stepIndex(a) {
    if (a.goal !== 'absent')
        return names.indexOf(a.step);
    return a.undoing ? names.indexOf(a.undoing) : names.length;
}

const blocks = (a) => (a.blocks_total ? `${a.blocks_online} of ${a.blocks_total} blocks` : '');

/* A few words beside the state, while something is going on or when there is a reason to give. */
export function shortProgress(a) {
    if (a.state === 'pending' || a.state === 'detaching') {
        const at = stepIndex(a);
        if (at < 0 || at >= steps.length)
            return '';
        const n = a.goal === 'absent' ? steps.length - at : at + 1;
        return `step ${n} of ${steps.length}${names[at] === 'online' && blocks(a) ? `, ${blocks(a)}` : ''}`;
    }
    return a.state === 'attached' ? '' : (a.reason ?? '');
}

function markOf(i, at, a, undoing) {
    if (undoing && i > names.indexOf(a.step))
        return 'never'; // it did not come so far: there is nothing to take back
    if (a.state === 'attached' || hasEnded(a))
        return 'done';
    if (i === at)
        return a.state === 'stuck' || a.state === 'failed' || a.state === 'lost' ? 'broken' : 'now';
    const before = undoing ? i > at : i < at;
    return before ? 'done' : 'open';
}

const marks = { done: '✓', now: '…', broken: '!', open: '', never: '–' };
const markWords = { done: 'done', now: 'under way', broken: 'stopped here', open: 'to come' };

export function Steps({ a }) {
    const undoing = a.goal === 'absent';
    const at = stepIndex(a);
    const rows = steps.map((step, i) => ({ ...step, mark: markOf(i, at, a, undoing) }));
    if (undoing)
        rows.reverse();
    return html`<ol class="steps" aria-label=${undoing ? 'Steps back' : 'Steps of the attach'}>
        ${rows.map(
            ({ name, does, undoes, mark }) => html`<li key=${name} class=${mark} aria-current=${mark === 'now' ? 'step' : undefined}>
                <span class="mark" aria-hidden="true">${marks[mark]}</span>
                <span>
                    ${undoing && mark !== 'never' ? undoes : does}${mark === 'never' ? html` <small>never begun</small>` : html`<span class="hidden">: ${markWords[mark]}</span>`}
                </span>
                ${name === 'online' && mark !== 'never' && html`<${Blocks} a=${a} />`}
            </li>`,
        )}
    </ol>`;
}

function Blocks({ a }) {
    if (!a.blocks_total)
        return null;
    return html`<progress value=${a.blocks_online} max=${a.blocks_total} aria-label="Memory blocks online"></progress>
        <small>${blocks(a)}</small>`;
}
