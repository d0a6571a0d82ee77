// attachment.js - one attachment: where it is, how far it is, what happened to it.
import { html } from 'htm/preact';
import { useEffect, useState } from 'preact/hooks';

import { api } from '../api.js';
import { bytes, nanoseconds, shortId, time } from '../format.js';
import { attachments, hasEnded, mayWrite, refreshAttachment, worryOf } from '../state.js';
import { canDetach } from '../ui/attachmenttable.js';
import { AttachmentState, Empty, NodeLink, Path, Problem, sentence } from '../ui/bits.js';
import { Steps } from '../ui/progress.js';
import { attachmentStates, known, steps } from '../words.js';
import { DetachDialog } from './detach.js';

export function AttachmentView({ id }) {
    useEffect(() => refreshAttachment(id), [id]);
    const a = attachments.value?.get(id);
    if (!a)
        return html`<h1 tabindex="-1">Attachment</h1>
            <p>${attachments.value ? 'There is no attachment with this id (any more).' : 'Reading …'}</p>`;
    return html`
        <div class="heading">
            <h1 tabindex="-1">Attachment <code>${shortId(a.id)}</code></h1>
            <${AttachmentState} of=${a.state} />
            <${Actions} a=${a} />
        </div>
        ${a.reason && html`<p class="problem">${sentence(a.reason)}</p>`}
        ${worryOf(a) && html`<p class="problem">${worryOf(a)}.</p>`}
        ${a.state === 'stuck' && html`<p>It is tried again by itself, until it succeeds or is given up.</p>`}
        ${a.state === 'lost' &&
        a.holds?.includes(a.compute_node) &&
        html`<p>What it still holds comes free by itself when ${a.compute_node} has rebooted or was fenced.</p>`}
        <div class="columns">
            <section class="card" aria-labelledby="facts-title"><h2 id="facts-title">Facts</h2><${Facts} a=${a} /></section>
            <section class="card" aria-labelledby="steps-title">
                <h2 id="steps-title">${a.state === 'failed' ? 'What was undone' : a.state === 'lost' && !hasEnded(a) ? 'What waits to be taken back' : a.goal === 'absent' ? 'Giving it back' : 'Borrowing it'}</h2>
                <${Steps} a=${a} />
                <h2>What happened</h2>
                <${Timeline} list=${(a.timeline ?? []).filter((e) => e.type !== 'attachment.progress')} />
            </section>
        </div>
    `;
}

function Actions({ a }) {
    const [leaving, setLeaving] = useState(false);
    const [problem, setProblem] = useState(null);
    if (!mayWrite.value)
        return null;
    const run = (action) => async () => {
        setProblem(null);
        try {
            await action(a.id);
            refreshAttachment(a.id);
        } catch (error) {
            setProblem(error.problem);
        }
    };
    return html`<div class="actions">
        ${a.state === 'stuck' && html`<button class="outline" onClick=${run(api.retry)}>Try again now</button>`}
        ${(a.state === 'detaching' || (a.state === 'stuck' && a.goal === 'absent')) &&
        html`<button class="outline" onClick=${run(api.cancelDetach)}>Give up the detach</button>`}
        ${canDetach(a) && a.goal !== 'absent' && html`<button class="outline danger" onClick=${() => setLeaving(true)}>Detach …</button>`}
        <${Problem} of=${problem} />
        ${leaving && html`<${DetachDialog} id=${a.id} onClose=${() => setLeaving(false)} />`}
    </div>`;
}

function Facts({ a }) {
    const rows = [
        ['Borrower', html`<${NodeLink} name=${a.compute_node} />`],
        ['Donor', a.donor ? html`<${NodeLink} name=${a.donor} />` : '–'],
        ['Why this donor', a.timeline?.find((e) => e.to === 'pending')?.reason ?? '–'],
        ['Size', `${bytes(a.size_bytes)}${a.requested_bytes !== a.size_bytes ? ` (asked for ${bytes(a.requested_bytes)})` : ''}`],
        ['Blocks online', a.blocks_total ? `${a.blocks_online} of ${a.blocks_total}` : '–'],
        ['NUMA node', a.numa_node ?? '–'],
        ['Path', html`<${Path} legs=${a.path} />`],
        ['Path cost', nanoseconds(a.cost_ns)],
        ['Channels', a.channels === 2 ? 'two, bonded' : 'one'],
        ['Circuit', a.circuit ?? '–'],
        ['Section, offset', `${a.section ?? '–'}, ${a.offset_bytes === null ? '–' : bytes(a.offset_bytes)}`],
        ['Physical address', html`<code>${a.physical_addr ?? '–'}</code>`],
        ['Address in the lender', html`<code>${a.effective_addr ?? '–'}</code>`],
        ['Still held by', a.holds?.length ? a.holds.join(', ') : hasEnded(a) ? 'nobody' : '–'],
        ['Asked for', time(a.created_at)],
        ['Full id', html`<code>${a.id}</code>`],
    ];
    return html`<dl class="facts">${rows.map(([k, v]) => html`<div key=${k}><dt>${k}</dt><dd>${v}</dd></div>`)}</dl>`;
}

function Timeline({ list }) {
    if (!list.length)
        return html`<${Empty}>Nothing yet.<//>`;
    return html`<ol class="timeline">
        ${[...list].reverse().map(
            (e, i) => html`<li key=${list.length - i}>
                <time datetime=${e.at}>${time(e.at)}</time>
                <span>${entryWords(e)}${e.reason && html`<small>${e.reason}</small>`}</span>
            </li>`,
        )}
    </ol>`;
}

function entryWords(e) {
    const step = e.type === 'attachment.step' && steps.find((s) => s.name === e.to);
    if (step && e.from === 'hold')
        return 'Waits with taking it offline';
    if (step)
        return e.from === 'undo' ? step.undoes : step.does;
    return e.type === 'attachment.step' ? 'Nothing is held any more' : sentence(known(attachmentStates, e.to).title);
}
