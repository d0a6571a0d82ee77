// fence.js - an operator's word that a node is off.  It cannot be taken back, so the name has to be typed, twice.
import { html } from 'htm/preact';
import { useState } from 'preact/hooks';

import { api } from '../api.js';
import { bytes, count } from '../format.js';
import { liveAttachments, refreshNodes } from '../state.js';
import { Problem } from '../ui/bits.js';
import { Dialog } from '../ui/dialog.js';

export function FenceDialog({ node, onClose }) {
    const [typed, setTyped] = useState(['', '']);
    const [problem, setProblem] = useState(null);
    const [busy, setBusy] = useState(false);
    const borrows = liveAttachments.value.filter((a) => a.compute_node === node.name);
    const sure = typed.every((text) => text === node.name);

    async function fence(event) {
        event.preventDefault();
        if (!sure)
            return;
        setBusy(true);
        setProblem(null);
        try {
            await api.fence(node.name, node.boot_id);
            refreshNodes();
            onClose();
        } catch (error) {
            setProblem(error.problem);
            setBusy(false);
        }
    }

    const field = (i, label) => html`<label>${label}
        <input value=${typed[i]} autocomplete="off" autocapitalize="off" spellcheck="false" data-focus=${i === 0 || undefined}
            onInput=${(e) => setTyped(typed.with(i, e.target.value))} onPaste=${(e) => e.preventDefault()} />
    </label>`;
    return html`<${Dialog} title=${`Fence ${node.name}`} onClose=${onClose}>
        <form onSubmit=${fence}>
            <p>
                You state that <b>${node.name}</b> is <b>off</b>, since boot <code>${node.boot_id}</code>, and stays off until it
                boots anew. Memlane takes your word for it: what it borrowed goes back to the donors
                (${borrows.length ? `${count(borrows.length, 'attachment')}, ${bytes(borrows.reduce((n, a) => n + a.size_bytes, 0))}` : 'it borrows nothing'}).
            </p>
            <p class="problem">
                If it runs still, it goes on writing into memory that others may get. Cut its power before.
            </p>
            ${field(0, 'Name of the node')} ${field(1, 'The name once more')}
            <${Problem} of=${problem} />
            <footer>
                <button type="button" class="outline" onClick=${onClose}>Leave it</button>
                <button type="submit" class="danger" aria-busy=${busy} disabled=${busy || !sure}>It is off: fence it</button>
            </footer>
        </form>
    <//>`;
}
