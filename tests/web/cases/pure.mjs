// pure.mjs - parts of the dashboard that need no browser.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

import { bytes } from '../../../web/src/format.js';
import { cable, joins, layout } from '../../../web/src/rack/layout.js';
import { createParser } from '../../../web/src/stream/parser.js';

export function stream_parser_takes_any_pieces() {
    const text = ': hello\n\nid: 7\nevent: node.state\ndata: {"a":\ndata: 1}\n\nevent: reset\ndata: {}\r\n\r\nid: 8\n\n';
    const expected = [
        { id: '7', event: 'node.state', data: '{"a":\n1}' },
        { event: 'reset', data: '{}' },
    ];
    for (let size = 1; size <= text.length; size++) {
        const got = [];
        const parse = createParser((message) => got.push(message));
        for (let i = 0; i < text.length; i += size)
            parse(text.slice(i, i + size));
        assert.deepEqual(got, expected, `in pieces of ${size}`);
    }
}

export function sizes_read_well() {
    assert.equal(bytes(0), '0 bytes');
    assert.equal(bytes(1), '1 byte');
    assert.equal(bytes(268435456), '256 MiB');
    assert.equal(bytes(1.5 * 2 ** 40), '1.50 TiB');
    assert.equal(bytes(383 * 2 ** 30), '383 GiB');
}

function topologyOf(name) {
    const rack = JSON.parse(readFileSync(new URL(`../../../deploy/racks/${name}.json`, import.meta.url)));
    const nodes = rack.nodes.map((node) => ({
        name: node.name,
        adapters: node.adapters.map((a) => ({
            name: a.name,
            role: a.role,
            ports: Array.from({ length: a.ports ?? 2 }, (_, k) => `${node.name}/${a.name}/${k}`),
        })),
    }));
    return { nodes, switches: rack.switches ?? [], links: rack.links };
}

export function layout_places_every_port_of_every_rack_once() {
    for (const name of ['pair', 'ring3', 'star8', 'rack32']) {
        const topology = topologyOf(name);
        const plan = layout(topology);
        const places = new Set();
        for (const { a, b } of topology.links) {
            for (const end of [a, b]) {
                const { x, y } = plan.ports.get(end);
                assert.ok(x > 0 && x < plan.width && y > 0 && y < plan.height, `${name}: ${end} is outside`);
                places.add(`${x.toFixed(2)} ${y}`);
            }
            assert.match(cable(plan.ports.get(a), plan.ports.get(b)), /^M[\d.]+ [\d.]+[CV]/);
        }
        assert.equal(places.size, topology.links.length * 2, `${name}: two ports at one place`);
    }
}

export function joins_inside_a_switch_never_share_a_lane_piece() {
    const topology = topologyOf('star8');
    const plan = layout(topology);
    const sw = plan.switches[0];
    const names = sw.dots.map((dot) => dot.name);
    const pairs = [];
    for (let i = 0; i < names.length / 2; i++)
        pairs.push({ a: names[i], b: names[names.length - 1 - i] });
    const drawn = joins(sw, pairs, plan.ports);
    for (const one of drawn)
        for (const other of drawn)
            if (one !== other && one.lane === other.lane)
                assert.ok(one.right < other.left || other.right < one.left);
}
