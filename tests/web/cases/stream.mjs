// stream.mjs - live over one event stream that all tabs share, and what happens when it breaks.
import assert from 'node:assert/strict';

export async function all_tabs_share_one_stream_and_are_live({ page, context, proxy, rack, signIn }) {
    await signIn();
    const tabs = [page];
    for (let i = 0; i < 7; i++) {
        const tab = await context.newPage();
        await tab.goto(`${proxy.url}/`);
        await tab.locator('.live.good').waitFor();
        tabs.push(tab);
    }
    assert.equal(proxy.streams(), 1);
    const { id } = await rack.attach('n5', 1);
    for (const tab of tabs) {
        await tab.bringToFront();
        await tab.locator(`table.attachments tr[data-id="${id}"]`, { hasText: 'attached' }).waitFor();
    }
    assert.equal(proxy.streams(), 1);
}

export async function page_at_rest_asks_nothing({ page, proxy, signIn }) {
    await signIn();
    await page.waitForTimeout(1500);
    const before = proxy.requests.length;
    await page.waitForTimeout(3000);
    const asked = proxy.requests.slice(before);
    assert.ok(asked.length <= 2, `asked ${asked.length} times in 3 s: ${asked.join(', ')}`);
}

export async function broken_stream_is_said_and_mends_itself({ page, proxy, rack, signIn, shoot }) {
    await signIn();
    proxy.cut();
    await page.getByText(/Not live since \d/).waitFor();
    await shoot('not-live');
    const { id } = await rack.attach('n6', 1); // nobody sees it
    proxy.mend();
    await page.getByText(/Not live since/).waitFor({ state: 'detached', timeout: 20_000 });
    await page.locator(`table.attachments tr[data-id="${id}"]`, { hasText: 'attached' }).waitFor();
    await page.goto(`${proxy.url}/#/events`);
    await page.locator('table.events tr', { hasText: id.slice(0, 8) }).first().waitFor(); // no gap in the events either
    assert.equal(proxy.streams(), 1);
}
