// bits.js - small parts that every view uses.
import { html } from 'htm/preact';

import { natural } from '../format.js';
import { nodeAddress } from '../route.js';
import { attachmentStates, known, nodeStates, problemTitle, refusals } from '../words.js';

/* A state as a word with a coloured mark: the word alone says it all. */
export function State({ of, table, children }) {
    const { title, tone } = known(table, of);
    return html`<span class="state ${tone}">${title}${children}</span>`;
}

export const NodeState = ({ of }) => html`<${State} of=${of} table=${nodeStates} />`;
export const AttachmentState = ({ of }) => html`<${State} of=${of} table=${attachmentStates} />`;

export const NodeLink = ({ name }) => html`<a href=${nodeAddress(name)}>${name}</a>`;

/* A problem document in words: what, the details, and what was said about each field or donor. */
export function Problem({ of }) {
    if (!of)
        return null;
    return html`<div class="problem" role="alert">
        <strong>${problemTitle(of)}</strong>
        ${of.detail && html`<p>${sentence(of.detail)}</p>`}
        ${of.hint && html`<p>${sentence(of.hint)}</p>`}
        ${of.field_errors?.length > 0 &&
        html`<ul>
            ${of.field_errors.map((f) => html`<li key=${f.field}>${f.field}: ${f.detail ?? f.message}</li>`)}
        </ul>`}
        ${of.candidates?.length > 0 && html`<${Refused} list=${of.candidates} />`}
    </div>`;
}

export function Refused({ list }) {
    const sorted = [...list].sort((a, b) => natural.compare(a.node, b.node));
    return html`<ul class="refused">
        ${sorted.map(
            (c) => html`<li key=${c.node}>
                <b>${c.node}</b> ${refusals[c.reason] ?? c.reason}${c.detail && html`<small>${c.detail}</small>`}
            </li>`,
        )}
    </ul>`;
}

/* With a capital, unless it begins with a name, and a full stop. */
export function sentence(text) {
    const first = /^[a-z]+\b(?![_/.:-])/.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
    return /[.!?]$/.test(first) ? first : `${first}.`;
}

export function Figure({ title, children, note }) {
    return html`<div class="figure">
        <dt>${title}</dt>
        <dd>${children}${note && html`<small>${note}</small>`}</dd>
    </div>`;
}

export function Path({ legs }) {
    if (!legs?.length)
        return '–';
    return html`<span class="path">
        ${legs.map((leg, i) => html`<span key=${i}>${leg.join(' → ')}</span>`)}
    </span>`;
}

export const Empty = ({ children }) => html`<p class="empty">${children}</p>`;
