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
    const why = page.locator('.facts div', { hasText: 'Why this donor' });
    assert.match(await why.textContent(), new RegExp(`nearest: ${made.donor} .* before n`));
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

export async function audit_says_who_changed_what_to_admins_only({ page, proxy, rack, signIn, shoot }) {
    const made = await rack.attach('n2', 1);
    await signIn();
    await page.getByRole('link', { name: 'Audit' }).click();
    const row = page.locator('table tbody tr', { hasText: 'n2' }).filter({ hasText: 'attach' }).first();
    await row.waitFor();
    await shoot('audit');
    await page.getByLabel('Entries that contain').fill('nothing has this');
    await page.getByText('No such change.').waitFor();
    await rack.call('DELETE', `/v1/attachments/${made.id}?wait=30`);
    await page.getByLabel('Entries that contain').fill('attachment.delete');
    await page.getByRole('button', { name: 'Read again' }).click();
    await page.locator('table tbody tr').first().waitFor();
    const viewer = await rack.call('POST', '/v1/tokens', { role: 'viewer', name: 'looker' });
    await page.getByRole('button', { name: 'Sign out' }).click();
    await signIn(page, viewer.token);
    assert.equal(await page.getByRole('link', { name: 'Audit' }).count(), 0);
    await page.goto(`${proxy.url}/#/audit`);
    await page.getByText('You may not do this').waitFor();
}

export async function stuck_detach_names_the_blocks_and_can_be_given_up_or_tried_again({ page, proxy, rack, signIn, axe, shoot }) {
    if (!rack.control)
        return;
    const made = await rack.attach('n1', 1);
    const block = 256 * 2 ** 20;
    const bad = Number(BigInt(made.physical_addr) / BigInt(block)) + 1;
    rack.control('block', 'n1', `${bad}`, 'ebusy');
    try {
        await rack.call('DELETE', `/v1/attachments/${made.id}?wait=30`);
        await signIn();
        await page.locator('.figure', { hasText: 'Needs attention' }).filter({ hasText: '1 attachment' }).waitFor();
        await page.goto(`${proxy.url}/#/attachments/${made.id}`);
        await page.locator('.page .heading .state', { hasText: 'stuck' }).first().waitFor();
        await page.locator('.problem', { hasText: `memory${bad}` }).first().waitFor();
        assert.deepEqual(await axe(), [], 'stuck');
        await shoot('stuck');
        await page.getByRole('button', { name: 'Give up the detach' }).click();
        await page.locator('.heading .state', { hasText: 'attached' }).waitFor();
        await page.getByRole('button', { name: /^Detach/ }).click();
        await page.getByRole('dialog').getByRole('button', { name: /^Detach/ }).click();
        await page.locator('.page .heading .state', { hasText: 'stuck' }).first().waitFor();
        await page.keyboard.press('Escape');
        rack.control('block', 'n1', `${bad}`, 'ok');
        await page.getByRole('button', { name: 'Try again now' }).click();
        await page.locator('.heading .state', { hasText: 'detached' }).waitFor();
    } finally {
        rack.control('block', 'n1', `${bad}`, 'ok');
    }
}

export async function a_node_that_is_away_is_seen_on_what_it_lends({ page, rack, signIn, shoot }) {
    if (!rack.stop)
        return;
    const made = await rack.attach('n1', 1, { donor: 'n2' });
    const lendable = page.locator('.figures div', { hasText: 'Can still be lent' });
    await signIn();
    const before = await lendable.textContent();
    rack.stop('agent-n2');
    try {
        await page.locator(`[data-id="${made.id}"]`, { hasText: 'attached n2 is unreachable' }).waitFor({ timeout: 30_000 });
        assert.notEqual(await lendable.textContent(), before);
        await shoot('away');
        await page.locator(`[data-id="${made.id}"] a`).first().click();
        await page.getByText('n2 is unreachable.').waitFor();
    } finally {
        rack.start('agent-n2');
    }
    await page.getByText('n2 is unreachable.').waitFor({ state: 'detached', timeout: 30_000 });
}

export async function fencing_asks_for_the_name_twice({ page, proxy, rack, signIn, axe, shoot }) {
    if (!rack.stop)
        return;
    await signIn();
    await page.goto(`${proxy.url}/#/nodes/n5`);
    await page.getByRole('heading', { name: 'n5', exact: true }).waitFor();
    assert.equal(await page.getByRole('button', { name: 'Fence …' }).count(), 0, 'of a node that reports');
    rack.control('power', 'n5', 'off');
    try {
        await page.getByRole('button', { name: 'Fence …' }).click({ timeout: 30_000 });
        const send = page.getByRole('button', { name: 'It is off: fence it' });
        await page.getByLabel('Name of the node').fill('n5');
        assert.equal(await send.isDisabled(), true);
        await page.getByLabel('The name once more').fill('n6');
        assert.equal(await send.isDisabled(), true);
        assert.deepEqual(await axe(), [], 'fence');
        await shoot('fence');
        await page.getByLabel('The name once more').fill('n5');
        await send.click();
        await page.locator('.heading .state', { hasText: 'fenced' }).waitFor();
    } finally {
        rack.control('power', 'n5', 'on');
    }
    await page.locator('.heading .state', { hasText: 'ready' }).waitFor({ timeout: 30_000 });
}
