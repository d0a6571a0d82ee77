// memory.js - a node's memory as one bar: used by itself, lent, free, and what it borrows behind its own.
import { html } from 'htm/preact';

import { bytes } from '../format.js';

/* The parts in their order, and the figures that add up to the node's own memory. */
export function memoryParts(node) {
    const lent = Math.min(node.lent_bytes, node.memory_bytes);
    const free = Math.min(node.free_bytes, node.memory_bytes);
    // Lent memory that is not locked yet (or sparse) still counts as free on the node.
    const freeLeft = Math.max(0, free - Math.max(0, lent - node.locked_bytes));
    const used = Math.max(0, node.memory_bytes - lent - freeLeft);
    return [
        { kind: 'used', size: used },
        { kind: 'lent', size: lent },
        { kind: 'free', size: freeLeft },
        { kind: 'borrowed', size: node.borrowed_bytes },
    ];
}

export function memorySentence(node) {
    return memoryParts(node)
        .filter(({ size }) => size > 0)
        .map(({ kind, size }) => `${bytes(size)} ${kind}`)
        .join(', ');
}

/* What lent memory is filled with: once in each SVG that has a bar. */
export function Hatch() {
    return html`<defs>
        <pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
            <rect class="hatch-ground" width="5" height="5" />
            <rect class="hatch-line" width="2" height="5" />
        </pattern>
    </defs>`;
}

/* The bar as SVG shapes inside the given box. */
export function MemoryBar({ node, x, y, width, height }) {
    const parts = memoryParts(node);
    const total = parts.reduce((sum, { size }) => sum + size, 0) || 1;
    let at = x;
    const shapes = parts.map(({ kind, size }) => {
        const w = size && Math.max((size / total) * width, 2);
        const left = Math.min(at, x + width - w);
        at += w;
        return w > 0 && html`<rect key=${kind} class="mem ${kind}" x=${left} y=${y} width=${w} height=${height} />`;
    });
    return html`<g class="memory">
        <rect class="mem frame" x=${x} y=${y} width=${width} height=${height} rx="2" />
        ${shapes}
    </g>`;
}

export function MemoryLegend({ circuits }) {
    return html`<ul class="legend" aria-label="Legend">
        ${['used', 'lent', 'free', 'borrowed'].map(
            (kind) => html`<li key=${kind}><span class="swatch ${kind}" aria-hidden="true"></span>${kind}</li>`,
        )}
        ${circuits && html`<li><span class="swatch circuit" aria-hidden="true"></span>live circuit</li>`}
    </ul>`;
}
