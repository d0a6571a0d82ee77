// audit.js - who changed what, newest first.  Read when the page is opened, and on demand: an audit log is no ticker.
import { html } from 'htm/preact';
import { useEffect, useState } from 'preact/hooks';

import { api } from '../api.js';
import { count, time } from '../format.js';
import { Empty, Problem } from '../ui/bits.js';

export function AuditView() {
    const [list, setList] = useState(null);
    const [text, setText] = useState('');
    const [problem, setProblem] = useState(null);

    async function read() {
        setProblem(null);
        try {
            setList((await api.audit()).items.reverse());
        } catch (error) {
            setProblem(error.problem);
        }
    }
    useEffect(() => void read(), []);

    const needle = text.trim().toLowerCase();
    const shown = (list ?? []).filter((row) => !needle || rowText(row).includes(needle));
    return html`
        <div class="heading">
            <h1 tabindex="-1">Audit</h1>
            <div class="actions"><button class="outline" onClick=${read}>Read again</button></div>
        </div>
        <form class="filters" onSubmit=${(e) => e.preventDefault()}>
            <label>Entries that contain <input type="search" value=${text} onInput=${(e) => setText(e.target.value)} /></label>
        </form>
        <${Problem} of=${problem} />
        ${list && html`<p class="hint" role="status">${count(shown.length, 'change')}</p>`}
        ${shown.length
            ? html`<div class="scroll" tabindex="0" role="region" aria-label="Changes"><${Table} list=${shown} /></div>`
            : list && html`<${Empty}>No such change.<//>`}
    `;
}

const details = (row) => (row.detail && typeof row.detail === 'object' ? JSON.stringify(row.detail) : row.detail) || '';
const rowText = (row) => `${row.actor} ${row.action} ${row.object} ${row.remote ?? ''} ${details(row)}`.toLowerCase();

function Table({ list }) {
    return html`<table class="events audit">
        <thead>
            <tr><th scope="col">Time</th><th scope="col">Who</th><th scope="col">From</th><th scope="col">Did</th>
                <th scope="col">To</th><th scope="col">Details</th></tr>
        </thead>
        <tbody>
            ${list.map(
                (row) => html`<tr key=${row.id}>
                    <td><time datetime=${row.at} title=${`request ${row.request_id}`}>${time(row.at)}</time></td>
                    <td>${row.actor}</td><td>${row.remote || '–'}</td><td>${row.action}</td><td>${row.object || '–'}</td>
                    <td class="details">${details(row) || '–'}</td>
                </tr>`,
            )}
        </tbody>
    </table>`;
}
