// rack.js - the first view: how the rack is, its picture, and what is borrowed now.
import { html } from 'htm/preact';
import { useState } from 'preact/hooks';

import { bytes, count } from '../format.js';
import { circuits, lendableNow, liveAttachments, mayWrite, nodes, topology } from '../state.js';
import { problemsOf } from '../words.js';
import { AttachmentTable } from '../ui/attachmenttable.js';
import { Figure } from '../ui/bits.js';
import { MemoryLegend } from '../rack/memory.js';
import { RackPicture } from '../rack/picture.js';
import { AttachDialog } from './attach.js';

export function RackView() {
    const [attaching, setAttaching] = useState(false);
    return html`
        <div class="heading">
            <h1 tabindex="-1">Rack</h1>
            ${mayWrite.value && html`<button onClick=${() => setAttaching(true)}>Attach memory …</button>`}
        </div>
        <${Summary} />
        <section aria-labelledby="picture-title" class="card">
            <h2 id="picture-title" class="hidden">Picture</h2>
            <${RackPicture} />
            <${MemoryLegend} circuits />
        </section>
        <section aria-labelledby="borrowed-title">
            <h2 id="borrowed-title">Borrowed now</h2>
            <${AttachmentTable} list=${liveAttachments.value} empty="Nothing is borrowed." />
        </section>
        ${attaching && html`<${AttachDialog} onClose=${() => setAttaching(false)} />`}
    `;
}

function Summary() {
    const all = [...(nodes.value?.values() ?? [])];
    const ready = all.filter((n) => n.state === 'ready').length;
    const sum = (field) => all.reduce((total, n) => total + (n[field] ?? 0), 0);
    const live = liveAttachments.value;
    const changing = live.filter((a) => a.state === 'pending' || a.state === 'detaching').length;
    return html`<dl class="figures">
        <${Figure} title="Nodes ready" note=${ready === all.length ? '' : `of ${all.length}`}>
            <span class=${ready === all.length ? '' : 'bad'}>${ready}</span>
        <//>
        <${Figure} title="Lent">${bytes(sum('lent_bytes'))}<//>
        <${Figure} title="Can still be lent">${bytes(all.reduce((total, n) => total + lendableNow(n), 0))}<//>
        <${Figure} title="Attachments" note=${changing ? `${changing} changing` : ''}>${live.length}<//>
        <${Attention} all=${all} live=${live} />
    </dl>`;
}

const inError = (adapter) => adapter.error || Number(adapter.error_capture ?? 0) !== 0;

// What somebody should look at: nodes that are away, attachments that cannot go on, what fails under them, what
// agents found.
function Attention({ all, live }) {
    const away = all.filter((n) => n.state !== 'ready' && n.state !== 'new').length;
    const stopped = live.filter((a) => a.state === 'stuck' || a.state === 'lost').length;
    const findings = all.reduce((total, n) => total + problemsOf(n).length, 0);
    const broken = all.flatMap((n) => n.adapters ?? []).filter(inError).length;
    const endangered = circuits.value.filter((c) => c.danger).length;
    const down = (topology.value?.links ?? []).filter((l) => l.state === 'down').length;
    const parts = [
        away && count(away, 'node'),
        stopped && count(stopped, 'attachment'),
        endangered && `${count(endangered, 'circuit')} in danger`,
        broken && `${count(broken, 'adapter')} in error`,
        down && `${count(down, 'link')} down`,
        findings && count(findings, 'finding'),
    ];
    const failed = away + stopped + endangered + broken + down;
    const total = failed + findings;
    return html`<${Figure} title="Needs attention" note=${parts.filter(Boolean).join(', ')}>
        <span class=${failed ? 'bad' : total ? 'busy' : ''}>${total || 'nothing'}</span>
    <//>`;
}
