// detach.js - asks before memory is given back, and shows how it goes.
import { html } from 'htm/preact';
import { useState } from 'preact/hooks';

import { api } from '../api.js';
import { bytes } from '../format.js';
import { attachments, refreshAttachment } from '../state.js';
import { AttachmentState, Problem } from '../ui/bits.js';
import { Dialog } from '../ui/dialog.js';
import { Steps } from '../ui/progress.js';

export function DetachDialog({ id, onClose }) {
    const [sent, setSent] = useState(false);
    const a = attachments.value?.get(id);
    return html`<${Dialog} title="Detach memory" onClose=${onClose} phase=${sent}>
        ${sent ? html`<${Going} a=${a} onClose=${onClose} />` : html`<${Ask} a=${a} onClose=${onClose} onSent=${() => setSent(true)} />`}
    <//>`;
}

function Ask({ a, onClose, onSent }) {
    const [problem, setProblem] = useState(null);
    const [busy, setBusy] = useState(false);
    if (!a)
        return html`<p>It is gone already.</p>`;

    async function detach() {
        setBusy(true);
        setProblem(null);
        try {
            await api.detach(a.id);
            refreshAttachment(a.id);
            onSent();
        } catch (error) {
            setProblem(error.problem);
            setBusy(false);
        }
    }

    return html`<div>
        <p>
            <b>${a.compute_node}</b> gives <b>${bytes(a.size_bytes)}</b> back to <b>${a.donor}</b>. What is in that memory is
            moved to other memory of ${a.compute_node} first; where that does not fit, the detach stops and nothing is lost.
        </p>
        <${Problem} of=${problem} />
        <footer>
            <button class="outline" onClick=${onClose} data-focus>Keep it</button>
            <button class="danger" onClick=${detach} aria-busy=${busy} disabled=${busy}>Detach ${bytes(a.size_bytes)}</button>
        </footer>
    </div>`;
}

function Going({ a, onClose }) {
    const over = !a || (a.state !== 'detaching' && a.state !== 'attached'); // 'attached': not read again yet
    return html`<div>
        <p role="status">
            ${a ? html`${a.compute_node} gives ${bytes(a.size_bytes)} back to ${a.donor}: <${AttachmentState} of=${a.state} />` : 'Given back.'}
        </p>
        ${a && html`<${Steps} a=${a} />`}
        ${a?.reason && html`<p class="problem" role="alert">${a.reason}</p>`}
        <footer>
            ${!over && html`<p class="hint">It goes on without this window.</p>`}
            <button onClick=${onClose} data-focus>${over ? 'Done' : 'Close'}</button>
        </footer>
    </div>`;
}
