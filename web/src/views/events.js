// events.js - what happened, newest first, live.
import { html } from 'htm/preact';
import { useState } from 'preact/hooks';

import { count, shortId, time } from '../format.js';
import { attachmentAddress, nodeAddress } from '../route.js';
import { events } from '../state.js';
import { Empty } from '../ui/bits.js';
import { eventSentence } from '../words.js';

const kinds = {
    '': 'everything',
    attachment: 'attachments',
    node: 'nodes',
    link: 'links',
    circuit: 'circuits',
    topology: 'cabling',
};

const isNoise = (e) => e.type === 'node.memory' || e.type === 'attachment.progress';

export function EventsView() {
    const [kind, setKind] = useState('');
    const [text, setText] = useState('');
    const [noise, setNoise] = useState(false);
    const needle = text.trim().toLowerCase();
    const shown = events.value.filter(
        (e) => (noise || !isNoise(e)) && (!kind || e.object.split('/')[0] === kind) && (!needle || rowText(e).includes(needle)),
    );
    return html`
        <div class="heading"><h1 tabindex="-1">Events</h1></div>
        <form class="filters" onSubmit=${(e) => e.preventDefault()}>
            <label>Show
                <select value=${kind} onChange=${(e) => setKind(e.target.value)}>
                    ${Object.entries(kinds).map(([value, title]) => html`<option key=${value} value=${value}>${title}</option>`)}
                </select>
            </label>
            <label>that contain <input type="search" value=${text} onInput=${(e) => setText(e.target.value)} /></label>
            <label class="check"><input type="checkbox" checked=${noise} onChange=${(e) => setNoise(e.target.checked)} />
                progress and memory reports too</label>
        </form>
        <p class="hint" role="status">${count(shown.length, 'event')}</p>
        ${shown.length
            ? html`<div class="scroll" tabindex="0" role="region" aria-label="Events"><${Table} list=${shown} /></div>`
            : html`<${Empty}>No such event.<//>`}
    `;
}

const rowText = (e) => `${e.object} ${e.type} ${eventSentence(e)} ${e.reason ?? ''} ${e.actor ?? ''}`.toLowerCase();

function Table({ list }) {
    return html`<table class="events">
        <thead>
            <tr><th scope="col" class="num">Number</th><th scope="col">Time</th><th scope="col">What</th><th scope="col">Event</th>
                <th scope="col">Why</th><th scope="col">Who</th></tr>
        </thead>
        <tbody>
            ${list.map(
                (e) => html`<tr key=${e.id}>
                    <td class="num">${e.id}</td>
                    <td><time datetime=${e.at}>${time(e.at)}</time></td>
                    <td><${Subject} of=${e.object} /></td>
                    <td title=${e.type}>${eventSentence(e)}</td>
                    <td>${e.reason || '–'}</td>
                    <td>${e.actor || '–'}</td>
                </tr>`,
            )}
        </tbody>
    </table>`;
}

function Subject({ of }) {
    const slash = of.indexOf('/');
    const [kind, name] = slash < 0 ? [of, ''] : [of.slice(0, slash), of.slice(slash + 1)];
    if (kind === 'node')
        return html`node <a href=${nodeAddress(name)}>${name}</a>`;
    if (kind === 'attachment')
        return html`attachment <a href=${attachmentAddress(name)}><code>${shortId(name)}</code></a>`;
    return `${kind} ${name}`;
}
