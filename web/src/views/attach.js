// attach.js - the dialog that borrows memory: what is wanted, a preview of who would lend it, and how it goes.
//
// What the operator confirms is what happens: the donor of the preview is asked for by name, and one key belongs to one
// preview, so that a second click (or a retry after a lost answer) is the same request.
import { html } from 'htm/preact';
import { useState } from 'preact/hooks';

import { api, newKey } from '../api.js';
import { bytes, nanoseconds, natural, sizeUnits } from '../format.js';
import { attachmentAddress } from '../route.js';
import { attachments, nodes, refreshAttachment } from '../state.js';
import { AttachmentState, Path, Problem, Refused } from '../ui/bits.js';
import { Dialog } from '../ui/dialog.js';
import { Steps } from '../ui/progress.js';
import { policies, refusals } from '../words.js';

export function AttachDialog({ onClose, computeNode }) {
    const [wish, setWish] = useState(null); // the request's body, once it was previewed
    const [preview, setPreview] = useState(null);
    const [made, setMade] = useState(null); // the attachment's id
    return html`<${Dialog} title=${made ? 'Attaching' : 'Attach memory'} onClose=${onClose} phase=${made ? 3 : preview ? 2 : 1} wide>
        ${
            made
                ? html`<${Going} id=${made} onClose=${onClose} />`
                : preview
                  ? html`<${Confirm} wish=${wish} preview=${preview} onBack=${() => setPreview(null)} onMade=${setMade} />`
                  : html`<${Wish}
                        before=${wish}
                        computeNode=${computeNode}
                        onPreview=${(body, answer) => {
                            setWish(body);
                            setPreview(answer);
                        }}
                    />`
        }
    <//>`;
}

const borrowers = () =>
    [...(nodes.value?.values() ?? [])].filter((n) => n.adapters?.some((a) => a.role === 'compute')).sort(byName);
const lenders = () =>
    [...(nodes.value?.values() ?? [])].filter((n) => n.adapters?.some((a) => a.role === 'memory')).sort(byName);
const byName = (a, b) => natural.compare(a.name, b.name);

function splitSize(size) {
    const unit = ['TiB', 'GiB', 'MiB'].find((u) => size % sizeUnits[u] === 0) ?? 'MiB';
    return { amount: size / sizeUnits[unit], unit };
}

// The form's fields as the request's body: what was left empty is not sent.
function bodyOf(form) {
    const f = new FormData(form);
    const number = (name) => (f.get(name) ? Number(f.get(name)) : undefined);
    const body = {
        compute_node: f.get('compute_node'),
        size_bytes: Math.round(Number(f.get('amount')) * sizeUnits[f.get('unit')]),
        donor: f.get('donor') || undefined,
        avoid: f.getAll('avoid').length ? f.getAll('avoid') : undefined,
        channels: number('channels') === 2 ? 2 : undefined,
        max_cost_ns: number('max_cost_ns'),
        bandwidth_gbps: number('bandwidth_gbps'),
        policy: f.get('policy') === 'nearest' ? undefined : f.get('policy'),
        anti_affinity: f.get('anti_affinity') || undefined,
    };
    return JSON.parse(JSON.stringify(body));
}

function Wish({ before, computeNode, onPreview }) {
    const [problem, setProblem] = useState(null);
    const [busy, setBusy] = useState(false);
    const start = splitSize(before?.size_bytes ?? 16 * sizeUnits.GiB);
    const chosen = before?.compute_node ?? computeNode;

    async function submit(event) {
        event.preventDefault();
        const body = bodyOf(event.target);
        setBusy(true);
        setProblem(null);
        try {
            onPreview(body, await api.preview(body));
        } catch (error) {
            setProblem(error.problem);
            setBusy(false);
        }
    }

    return html`<form onSubmit=${submit}>
        <div class="fields">
            <label>Node that borrows
                <select name="compute_node" required data-focus>
                    ${borrowers().map(
                        (n) => html`<option key=${n.name} value=${n.name} selected=${n.name === chosen}>
                            ${n.name} (${bytes(n.free_bytes)} free)
                        </option>`,
                    )}
                </select>
            </label>
            <label>Size
                <input name="amount" type="number" min="0" step="any" required value=${start.amount} inputmode="decimal" />
            </label>
            <label>Unit
                <select name="unit">
                    ${Object.keys(sizeUnits).map(
                        (u) => html`<option key=${u} value=${u} selected=${u === start.unit}>${u}</option>`,
                    )}
                </select>
            </label>
        </div>
        <details open=${!!before && Object.keys(before).length > 2}>
            <summary>More options</summary>
            <${Options} before=${before ?? {}} />
        </details>
        <${Problem} of=${problem} />
        <footer>
            <button type="submit" aria-busy=${busy} disabled=${busy}>Preview</button>
        </footer>
    </form>`;
}

function Options({ before }) {
    const labels = [...new Set([...(nodes.value?.values() ?? [])].flatMap((n) => Object.keys(n.labels ?? {})))].sort();
    return html`<div class="fields">
            <label>Policy
                <select name="policy">
                    ${Object.entries(policies).map(
                        ([name, words]) => html`<option key=${name} value=${name} selected=${name === before.policy}>${words}</option>`,
                    )}
                </select>
            </label>
        </div>
        <div class="fields">
            <label>Donor
                <select name="donor">
                    <option value="">any</option>
                    ${lenders().map((n) => html`<option key=${n.name} value=${n.name} selected=${n.name === before.donor}>${n.name}</option>`)}
                </select>
            </label>
            <label>Channels
                <select name="channels">
                    <option value="1">one</option>
                    <option value="2" selected=${before.channels === 2}>two, bonded</option>
                </select>
            </label>
            <label>Must differ in
                <select name="anti_affinity">
                    <option value="">nothing</option>
                    ${labels.map((l) => html`<option key=${l} value=${l} selected=${l === before.anti_affinity}>${l}</option>`)}
                </select>
            </label>
        </div>
        <div class="fields">
            <label>Greatest path cost (ns)
                <input name="max_cost_ns" type="number" min="1" step="1" value=${before.max_cost_ns ?? ''} />
            </label>
            <label>Bandwidth to reserve (Gbit/s)
                <input name="bandwidth_gbps" type="number" min="1" step="1" value=${before.bandwidth_gbps ?? ''} />
            </label>
            <label>Donors to avoid
                <select name="avoid" multiple size="3">
                    ${lenders().map(
                        (n) => html`<option key=${n.name} value=${n.name} selected=${before.avoid?.includes(n.name)}>${n.name}</option>`,
                    )}
                </select>
            </label>
        </div>`;
}

function Confirm({ wish, preview, onBack, onMade }) {
    const feasible = preview.candidates.filter((c) => c.feasible);
    const refused = preview.candidates.filter((c) => !c.feasible);
    const [donor, setDonor] = useState(preview.chosen);
    const [key, setKey] = useState(newKey);
    const [problem, setProblem] = useState(null);
    const [busy, setBusy] = useState(false);
    const size = preview.size_bytes ?? wish.size_bytes;

    async function submit(event) {
        event.preventDefault();
        setBusy(true);
        setProblem(null);
        try {
            const made = await api.attach({ ...wish, donor }, key);
            refreshAttachment(made.id);
            onMade(made.id);
        } catch (error) {
            setProblem(error.problem);
            setBusy(false);
            if (error.status >= 400 && error.status < 500)
                setKey(newKey()); // it was refused; after a lost answer the same key finds what was made
        }
    }

    return html`<form onSubmit=${submit}>
        <p>
            <b>${bytes(size)}</b> for <b>${wish.compute_node}</b>${
                size !== wish.size_bytes && `, rounded up from ${bytes(wish.size_bytes)} to whole memory blocks`
            }.
        </p>
        ${
            feasible.length
                ? html`<${Donors} list=${feasible} donor=${donor} setDonor=${setDonor} />`
                : html`<${Problem} of=${{ code: 'no_donor', detail: refusals[preview.reason] ?? preview.reason }} />`
        }
        ${
            refused.length > 0 &&
            html`<details open=${!feasible.length}>
                <summary>${refused.length === 1 ? 'One node' : `${refused.length} nodes`} cannot lend it</summary>
                <${Refused} list=${refused} />
            </details>`
        }
        <${Problem} of=${problem} />
        <footer>
            <button type="button" class="outline" onClick=${onBack}>Back</button>
            ${
                feasible.length > 0 &&
                html`<button type="submit" aria-busy=${busy} disabled=${busy} data-focus>Attach ${bytes(size)} from ${donor}</button>`
            }
        </footer>
    </form>`;
}

function Donors({ list, donor, setDonor }) {
    return html`<fieldset class="donors">
        <legend>Donor, best first</legend>
        <div class="scroll">
            <table>
                <thead>
                    <tr><th scope="col">Node</th><th scope="col" class="num">Cost</th><th scope="col" class="num">Can lend</th>
                        <th scope="col">Path</th></tr>
                </thead>
                <tbody>
                    ${list.map(
                        (c) => html`<tr key=${c.node}>
                            <th scope="row">
                                <label><input type="radio" name="donor" value=${c.node} checked=${c.node === donor}
                                    onChange=${() => setDonor(c.node)} />${c.node}</label>
                            </th>
                            <td class="num">${nanoseconds(c.cost_ns)}</td>
                            <td class="num">${bytes(c.lendable_bytes)}</td>
                            <td><${Path} legs=${c.path} /></td>
                        </tr>`,
                    )}
                </tbody>
            </table>
        </div>
    </fieldset>`;
}

/* How an attach goes on; it does not need this window. */
function Going({ id, onClose }) {
    const a = attachments.value?.get(id);
    if (!a)
        return html`<p aria-busy="true">Reading …</p>`;
    const over = a.state !== 'pending';
    return html`<div>
        <p role="status">
            <b>${bytes(a.size_bytes)}</b> for <b>${a.compute_node}</b> from <b>${a.donor}</b>: <${AttachmentState} of=${a.state} />
        </p>
        <${Steps} a=${a} />
        ${a.reason && html`<p class="problem" role="alert">${a.reason}</p>`}
        <footer>
            ${!over && html`<p class="hint">It goes on without this window.</p>`}
            <a role="button" class="outline" href=${attachmentAddress(id)} onClick=${onClose}>Details</a>
            <button onClick=${onClose} data-focus>${over ? 'Done' : 'Close'}</button>
        </footer>
    </div>`;
}
