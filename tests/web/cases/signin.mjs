// signin.mjs - who may see what.
import assert from 'node:assert/strict';

export async function wrong_token_is_refused_in_words({ page, proxy }) {
    await page.goto(`${proxy.url}/`);
    await page.getByLabel('Token', { exact: true }).fill('not-a-token');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('alert').getByText('This token does not work').waitFor();
    assert.equal(await page.locator('.picture').count(), 0);
}

export async function session_is_a_cookie_that_scripts_cannot_see({ page, context, signIn }) {
    await signIn();
    const cookie = (await context.cookies()).find((c) => c.name === 'memlane_session');
    assert.equal(cookie.httpOnly, true);
    assert.equal(cookie.sameSite, 'Strict');
    assert.equal(await page.evaluate(() => document.cookie), '');
    await page.reload();
    await page.locator('.picture svg').waitFor(); // still signed in
}

export async function one_time_code_in_the_address_signs_in_and_disappears({ page, proxy, rack }) {
    const { code } = await rack.call('POST', '/v1/sessions/codes', {});
    await page.goto(`${proxy.url}/#code=${code}`);
    await page.locator('.picture svg').waitFor();
    assert.ok(!page.url().includes(code));
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('radio', { name: 'a one-time code' }).check();
    await page.getByLabel('One-time code', { exact: true }).fill(code);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('alert').getByText('This code does not work').waitFor(); // only once
}

export async function signing_out_signs_out_every_tab({ page, context, signIn, proxy }) {
    await signIn();
    const other = await context.newPage();
    await other.goto(`${proxy.url}/`);
    await other.locator('.live.good').waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    for (const tab of [page, other])
        await tab.getByLabel('Token', { exact: true }).waitFor();
    const status = await page.evaluate(async () => (await fetch('/v1/sessions')).status);
    assert.equal(status, 401);
}

export async function viewer_sees_everything_and_changes_nothing({ page, rack, signIn }) {
    const { token } = await rack.call('POST', '/v1/tokens', { role: 'viewer', name: 'web-viewer' });
    await rack.attach('n1', 1);
    await signIn(page, token);
    await page.locator('table.attachments tbody tr').waitFor();
    for (const view of ['#/', '#/attachments', '#/nodes/n1']) {
        await page.evaluate((hash) => void (location.hash = hash), view);
        await page.locator('h1').waitFor();
        assert.equal(await page.getByRole('button', { name: /Attach|Detach|Cordon/ }).count(), 0, view);
    }
}
