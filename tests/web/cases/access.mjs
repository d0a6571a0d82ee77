// access.mjs - no violation that axe knows, on any page, light and dark.
import assert from 'node:assert/strict';

const views = ['#/', '#/nodes', '#/nodes/n1', '#/attachments', '#/events', '#/audit'];

async function everyPage({ page, proxy, rack, signIn, axe, shoot }, scheme) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.goto(`${proxy.url}/`);
    await page.getByRole('button', { name: 'Sign in' }).waitFor();
    assert.deepEqual(await axe(), [], 'sign-in');
    const made = await rack.attach('n1', 2);
    await signIn();
    for (const view of [...views, `#/attachments/${made.id}`]) {
        await page.goto(`${proxy.url}/${view}`);
        await page.locator('h1').waitFor();
        await page.waitForTimeout(400);
        assert.deepEqual(await axe(), [], view);
        await shoot(`${scheme}-${view.replace(/[#/]+/g, '_')}`);
    }
    await dialogs({ page, proxy, axe, shoot }, scheme);
}

async function dialogs({ page, proxy, axe, shoot }, scheme) {
    await page.goto(`${proxy.url}/#/`);
    await page.getByRole('button', { name: 'Attach memory' }).click();
    await page.getByText('More options').click();
    assert.deepEqual(await axe(), [], 'attach');
    await shoot(`${scheme}-attach`);
    await page.getByRole('button', { name: 'Preview' }).click();
    await page.getByRole('radio').first().waitFor();
    assert.deepEqual(await axe(), [], 'preview');
    await shoot(`${scheme}-preview`);
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: /^Detach / }).first().click();
    assert.deepEqual(await axe(), [], 'detach');
    await shoot(`${scheme}-detach`);
    await page.keyboard.press('Escape');
}

export const axe_finds_nothing_in_the_dark = (world) => everyPage(world, 'dark');
export const axe_finds_nothing_in_the_light = (world) => everyPage(world, 'light');

export async function no_page_is_wider_than_a_phone({ page, proxy, rack, signIn, axe, shoot }) {
    const made = await rack.attach('n1', 2);
    await signIn();
    await page.setViewportSize({ width: 390, height: 844 });
    for (const view of [...views, `#/attachments/${made.id}`]) {
        await page.goto(`${proxy.url}/${view}`);
        await page.locator('h1').waitFor();
        await page.waitForTimeout(400);
        const width = await page.evaluate(() => document.scrollingElement.scrollWidth);
        assert.ok(width <= 390, `${view}: ${width} px`);
        assert.deepEqual(await axe(), [], view);
        await shoot(`phone-${view.replace(/[#/]+/g, '_')}`);
    }
}

export async function theme_button_wins_over_the_system({ page, signIn }) {
    await signIn();
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const dark = await ground();
    await page.getByRole('button', { name: 'Colours: as the system' }).click();
    const light = await ground();
    assert.notEqual(light, dark);
    await page.reload();
    await page.locator('.picture svg').waitFor();
    assert.equal(await ground(), light);
}
