// node.js - one node: memory, adapters, sections, what it lends and borrows, what its agent found, what its loss would mean.
import { html } from 'htm/preact';
import { useState } from 'preact/hooks';

import { api } from '../api.js';
import { bytes, count, nanoseconds, time } from '../format.js';
import { Hatch, MemoryBar, MemoryLegend, memorySentence } from '../rack/memory.js';
import { attachmentAddress } from '../route.js';
import { lendableNow, liveAttachments, mayWrite, nodes, refreshNodes } from '../state.js';
import { AttachmentTable } from '../ui/attachmenttable.js';
import { Empty, Figure, NodeLink, NodeState, Problem, sentence } from '../ui/bits.js';
import { AttachDialog } from './attach.js';
import { FenceDialog } from './fence.js';

export function NodeView({ name }) {
    const node = nodes.value?.get(name);
    if (!node)
        return html`<h1 tabindex="-1">${name}</h1>
            <p>${nodes.value ? 'No node of this name has registered.' : 'Reading …'}</p>`;
    const lends = liveAttachments.value.filter((a) => a.donor === name);
    const borrows = liveAttachments.value.filter((a) => a.compute_node === name);
    return html`
        <div class="heading">
            <h1 tabindex="-1">${name}</h1>
            <${NodeState} of=${node.state} />
            ${node.cordoned && html`<span class="state busy">cordoned: lends nothing new</span>`}
            <${Actions} node=${node} />
        </div>
        ${node.state === 'unreachable' &&
        html`<p class="problem">
            Its agent does not report${node.last_seen_at && ` since ${time(node.last_seen_at)}`}. Nothing new is placed on it, and
            nothing of it is given back, until it reports again or is fenced.
        </p>`}
        <${Findings} list=${node.findings ?? []} />
        <${Memory} node=${node} />
        <div class="columns">
            <${Loss} node=${node} />
            <${Identity} node=${node} />
        </div>
        ${(node.adapters ?? []).map((a) => html`<${Adapter} key=${a.name} adapter=${a} />`)}
        <section aria-labelledby="borrows-title">
            <h2 id="borrows-title">Borrows</h2>
            <${AttachmentTable} list=${borrows} empty="It borrows nothing." />
        </section>
        <section aria-labelledby="lends-title">
            <h2 id="lends-title">Lends</h2>
            <${AttachmentTable} list=${lends} empty="It lends nothing." />
        </section>
    `;
}

function Actions({ node }) {
    const [problem, setProblem] = useState(null);
    const [busy, setBusy] = useState(false);
    const [attaching, setAttaching] = useState(false);
    const [fencing, setFencing] = useState(false);
    if (!mayWrite.value)
        return null;

    async function toggle() {
        setBusy(true);
        setProblem(null);
        try {
            await api.setCordon(node.name, !node.cordoned);
            refreshNodes();
        } catch (error) {
            setProblem(error.problem);
        }
        setBusy(false);
    }

    const borrower = node.state === 'ready' && node.adapters?.some((a) => a.role === 'compute');
    return html`<div class="actions">
        <button class="outline" onClick=${toggle} aria-busy=${busy} disabled=${busy}>
            ${node.cordoned ? 'Lift the cordon' : 'Cordon'}
        </button>
        ${node.state === 'unreachable' && html`<button class="outline danger" onClick=${() => setFencing(true)}>Fence …</button>`}
        ${borrower && html`<button onClick=${() => setAttaching(true)}>Attach memory …</button>`}
        <${Problem} of=${problem} />
        ${fencing && html`<${FenceDialog} node=${node} onClose=${() => setFencing(false)} />`}
        ${attaching && html`<${AttachDialog} computeNode=${node.name} onClose=${() => setAttaching(false)} />`}
    </div>`;
}

function Findings({ list }) {
    if (!list.length)
        return null;
    return html`<section class="findings" aria-labelledby="findings-title">
        <h2 id="findings-title">${count(list.length, 'finding')}</h2>
        <ul>
            ${list.map(
                (f, i) => html`<li key=${i} class=${f.severity}>
                    <b>${sentence(f.text ?? f.detail ?? f.title ?? f.code)}</b>
                    ${f.advice && html` <span>${sentence(f.advice)}</span>`}
                </li>`,
            )}
        </ul>
    </section>`;
}

function Memory({ node }) {
    return html`<section class="card" aria-labelledby="memory-title">
        <h2 id="memory-title">Memory</h2>
        <svg class="bigbar" role="img" aria-label=${memorySentence(node)} viewBox="0 0 1000 26" preserveAspectRatio="none">
            <${Hatch} />
            <${MemoryBar} node=${node} x=${0} y=${0} width=${1000} height=${26} />
        </svg>
        <${MemoryLegend} />
        <dl class="figures">
            <${Figure} title="Its own">${bytes(node.memory_bytes)}<//>
            <${Figure} title="Free">${bytes(node.free_bytes)}<//>
            <${Figure} title="Can lend" note=${lendNote(node)}>
                ${bytes(lendableNow(node))}
            <//>
            <${Figure} title="Lends">${bytes(node.lent_bytes)}<//>
            <${Figure} title="Borrows">${bytes(node.borrowed_bytes)}<//>
        </dl>
    </section>`;
}

function lendNote(node) {
    if (lendableNow(node) < node.lendable_bytes)
        return `${bytes(node.lendable_bytes)} when it is ${node.cordoned ? 'uncordoned' : 'ready'}`;
    return node.headroom_bytes ? `${bytes(node.headroom_bytes)} kept as head-room` : '';
}

function Loss({ node }) {
    const { attachments = [], compute_nodes: others = [] } = node.blast_radius ?? {};
    return html`<section class="card" aria-labelledby="loss-title">
        <h2 id="loss-title">If ${node.name} is lost</h2>
        ${
            attachments.length
                ? html`<p>
                          ${count(attachments.length, 'attachment')} would be lost with it${others.length > 0 &&
                          html`, under ${others.map((n, i) => html`${i > 0 && ', '}<${NodeLink} key=${n} name=${n} />`)}`}.
                      </p>
                      <p class="ids">
                          ${attachments.map((id) => html`<a key=${id} href=${attachmentAddress(id)}><code>${id}</code></a> `)}
                      </p>`
                : html`<p>No borrowed memory would be lost with it.</p>`
        }
    </section>`;
}

function Identity({ node }) {
    const labels = Object.entries(node.labels ?? {});
    const rows = [
        ['Agent', node.version || '–'],
        ['Last report', node.last_seen_at ? time(node.last_seen_at) : '–'],
        ['Memory block', bytes(node.block_bytes)],
        ['Boot', html`<code>${node.boot_id || '–'}</code>`],
        ['Machine', html`<code>${node.machine_id || '–'}</code>`],
        ['Labels', labels.length ? labels.map(([k, v]) => `${k} = ${v}`).join(', ') : '–'],
    ];
    return html`<section class="card" aria-labelledby="identity-title">
        <h2 id="identity-title">Machine</h2>
        <dl class="facts">${rows.map(([k, v]) => html`<div key=${k}><dt>${k}</dt><dd>${v}</dd></div>`)}</dl>
    </section>`;
}

function Adapter({ adapter }) {
    const title = `adapter-${adapter.name}`;
    return html`<section class="card" aria-labelledby=${title}>
        <div class="heading">
            <h2 id=${title}>${adapter.name} <small>${adapter.role === 'compute' ? 'borrows' : 'lends'}</small></h2>
            ${adapter.emulated && html`<span class="state quiet">emulated</span>`}
            ${adapter.ok === false && html`<span class="state bad">${adapter.error || 'does not answer'}</span>`}
        </div>
        <div class="scroll">
            <table>
                <thead><tr><th scope="col">Port</th><th scope="col">Cabled to</th><th scope="col">Circuit</th></tr></thead>
                <tbody>
                    ${(adapter.ports ?? []).map(
                        (p) => html`<tr key=${p.name}>
                            <th scope="row">${p.name}</th><td>${p.link_peer ?? 'nothing'}</td><td>${p.circuit ?? '–'}</td>
                        </tr>`,
                    )}
                </tbody>
            </table>
        </div>
        ${adapter.role === 'compute' && html`<${Traffic} adapter=${adapter} />`}
        <${Sections} list=${adapter.sections ?? []} />
    </section>`;
}

const FLIT_BYTES = 64;
const CYCLE_NS = 1000 / 402.8; // the adapter's clock

// What the card's counters say, summed up since its agent started.
function Traffic({ adapter }) {
    const cycles = adapter.latency_samples ? adapter.latency_cycles / adapter.latency_samples : null;
    const note = adapter.emulated ? 'emulated' : '';
    return html`<dl class="figures">
        <${Figure} title="Sent since its agent started" note=${note}>${bytes(adapter.flits_sent * FLIT_BYTES)}<//>
        <${Figure} title="Received" note=${note}>${bytes(adapter.flits_received * FLIT_BYTES)}<//>
        <${Figure} title="Mean round trip" note=${note}>
            ${cycles === null ? '–' : nanoseconds(Math.round(cycles * CYCLE_NS))}
        <//>
    </dl>`;
}

function Sections({ list }) {
    const used = list.filter((s) => s.state !== 'free');
    if (!list.length)
        return null;
    if (!used.length)
        return html`<p class="hint">${count(list.length, 'section')} of 1 TiB, all free.</p>`;
    return html`<div class="scroll">
        <table>
            <thead><tr><th scope="col">Section</th><th scope="col">State</th><th scope="col">Register</th></tr></thead>
            <tbody>
                ${used.map(
                    (s) => html`<tr key=${s.section}>
                        <th scope="row">${s.section}</th><td>${s.state}</td><td><code>${s.register ?? '–'}</code></td>
                    </tr>`,
                )}
            </tbody>
        </table>
        <p class="hint">${list.length - used.length} more are free.</p>
    </div>`;
}
