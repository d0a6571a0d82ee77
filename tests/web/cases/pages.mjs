// pages.mjs - the pages of a node, of an attachment, and of events.
import assert from 'node:assert/strict';

export async function node_page_shows_memory_ports_and_what_its_loss_means({ page, proxy, rack, signIn, shoot }) {
    const made = await rack.attach('n1', 2);
    await signIn();
    await page.goto(`${proxy.url}/#/nodes/${made.donor}`);
    await page.getByRole('heading', { name: made.donor, exact: true }).waitFor();
    await page.getByText('1 attachment would be lost with it').waitFor();
    const node = await rack.call('GET', `/v1/nodes/${made.donor}`);
    for (const port of node.adapters.flatMap((a) => a.ports))
        await page.getByRole('rowheader', { name: port.name, exact: true }).waitFor();
    await page.getByRole('region', { name: 'Lends' }).locator(`tr[data-id="${made.id}"]`).waitFor();
    await shoot('node');
}

export async function cordon_is_set_seen_and_lifted({ page, proxy, rack, signIn }) {
    await signIn();
    await page.goto(`${proxy.url}/#/nodes/n3`);
    await page.getByRole('button', { name: 'Cordon' }).click();
    await page.getByText('cordoned: lends nothing new').waitFor();
    assert.equal((await rack.call('GET', '/v1/nodes/n3')).cordoned, true);
    await page.goto(`${proxy.url}/#/`);
    await page.locator('.picture .cordoned a[aria-label^="n3,"]').waitFor();
    await page.goto(`${proxy.url}/#/nodes/n3`);
    await page.getByRole('button', { name: 'Lift the cordon' }).click();
    await page.getByRole('button', { name: 'Cordon', exact: true }).waitFor();
    assert.equal((await rack.call('GET', '/v1/nodes/n3')).cordoned, false);
}

export async function attachment_page_tells_the_whole_story({ page, proxy, rack, signIn, shoot }) {
    const made = await rack.attach('n7', 1);
    await signIn();
    await page.goto(`${proxy.url}/#/attachments/${made.id}`);
    await page.getByText('Memory blocks come online').first().waitFor();
    await page.locator('.timeline li', { hasText: 'Attached' }).waitFor();
    await page.getByText(made.physical_addr).waitFor();
    await shoot('attachment');
    await rack.call('DELETE', `/v1/attachments/${made.id}?wait=30`);
    await page.locator('.timeline li', { hasText: 'Detached' }).waitFor();
    assert.equal(await page.getByRole('button', { name: /^Detach/ }).count(), 0);
}

export async function events_arrive_while_one_watches({ page, proxy, rack, signIn, shoot }) {
    await signIn();
    await page.goto(`${proxy.url}/#/events`);
    const made = await rack.attach('n8', 1);
    const rows = page.locator('table.events tbody tr', { hasText: made.id.slice(0, 8) });
    await rows.filter({ hasText: 'is now attached' }).waitFor();
    await page.getByLabel('Show').selectOption('node');
    await rows.first().waitFor({ state: 'detached' });
    await page.getByLabel('Show').selectOption('attachment');
    await page.getByLabel('that contain').fill('is now attached');
    await rows.first().waitFor();
    await shoot('events');
}

export async function unknown_addresses_say_so({ page, proxy, signIn }) {
    await signIn();
    for (const [hash, words] of [
        ['#/nodes/none', 'No node of this name'],
        ['#/attachments/none', 'There is no attachment with this id'],
        ['#/elsewhere', 'Nothing here'],
    ]) {
        await page.goto(`${proxy.url}/${hash}`);
        await page.getByText(words).waitFor();
    }
}
