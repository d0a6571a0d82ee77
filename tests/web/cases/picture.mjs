// picture.mjs - the rack's picture shows what the API says.
import assert from 'node:assert/strict';

export async function picture_shows_every_node_port_and_cable({ page, rack, signIn, shoot }) {
    await signIn();
    const topology = await rack.call('GET', '/v1/topology');
    const ports = topology.nodes.flatMap((n) => n.adapters.flatMap((a) => a.ports));
    assert.equal(await page.locator('.picture .node a').count(), topology.nodes.length);
    assert.equal(await page.locator('.picture .cable').count(), topology.links.length);
    assert.equal(await page.locator('.picture .adapter .port').count(), ports.length);
    assert.equal(await page.locator('.picture .switch').count(), topology.switches.length);
    await shoot('rack');
}

export async function picture_lights_up_the_path_of_a_circuit({ page, rack, signIn, shoot }) {
    await signIn();
    const attachment = await rack.attach('n2', 4);
    const [leg] = attachment.path;
    const cables = page.locator('.picture .cable.circuit.up');
    await page.locator('.picture .join.circuit.up').waitFor();
    const lit = await cables.evaluateAll((all) => all.map((one) => one.dataset.link));
    const expected = [];
    for (let i = 0; i < leg.length; i += 2)
        expected.push([leg[i], leg[i + 1]].sort().join(' '));
    assert.deepEqual(lit.map((l) => l.split(' ').sort().join(' ')).sort(), expected.sort());
    await page.locator(`.picture a[aria-label^="n2,"][aria-label*="4 GiB borrowed"]`).waitFor();
    await page.locator(`.picture a[aria-label^="${attachment.donor},"][aria-label*="4 GiB lent"]`).waitFor();
    await shoot('circuit');
    await rack.detachAll();
    await page.locator('.picture .circuit').first().waitFor({ state: 'detached' });
    await page.locator('.picture a[aria-label*="borrowed"]').first().waitFor({ state: 'detached' });
}

export async function pointing_at_an_attachment_marks_its_circuit({ page, rack, signIn }) {
    await rack.attach('n1', 1);
    await rack.attach('n3', 1);
    await signIn();
    await page.locator('table.attachments tbody tr').nth(1).waitFor();
    await page.locator('table.attachments tbody tr', { hasText: 'n3' }).first().hover();
    await page.locator('.picture svg.pointed').waitFor();
    const on = await page.locator('.picture .circuit.on').evaluateAll((all) => new Set(all.map((x) => x.dataset.circuit).filter(Boolean)).size);
    assert.equal(on, 1);
}

export async function a_cable_that_is_down_and_the_circuit_over_it_stand_out({ page, rack, signIn, shoot }) {
    const attachment = await rack.attach('n2', 4);
    const [a, b] = attachment.path[0];
    await signIn();
    await page.locator('.picture .join.circuit.up').first().waitFor();
    assert.equal(await page.locator('.picture .danger-ahead').count(), 0);
    await rack.call('PATCH', '/v1/links', { a, b, down: true });
    try {
        const broken = page.locator('.picture .cable.circuit.broken.danger-ahead');
        await broken.waitFor({ state: 'attached' }); // a straight line has no width, which counts as hidden
        assert.deepEqual((await broken.getAttribute('data-link')).split(' ').sort(), [a, b].sort());
        assert.match(await broken.locator('title').textContent(), /in danger: .* is down under 4 GiB/);
        assert.equal(await page.locator('.picture .cable.danger-ahead').count(), attachment.path[0].length / 2);
        await page.locator('.figures', { hasText: '1 circuit in danger' }).waitFor();
        await shoot('danger');
    } finally {
        await rack.call('PATCH', '/v1/links', { a, b, down: false });
    }
    await page.locator('.picture .danger-ahead').first().waitFor({ state: 'detached' });
    await rack.detachAll();
}
