// attach.mjs - borrowing memory and giving it back, with the pointer and with the keyboard alone.
import assert from 'node:assert/strict';

import { GIB } from '../rack.mjs';

async function openDialog(page) {
    await page.getByRole('button', { name: 'Attach memory' }).click();
    return page.getByRole('dialog');
}

export async function attach_is_previewed_then_seen_then_detached({ page, rack, signIn, shoot }) {
    await signIn();
    const dialog = await openDialog(page);
    await dialog.getByLabel('Node that borrows').selectOption('n1');
    await dialog.getByLabel('Size').fill('3');
    await dialog.getByRole('button', { name: 'Preview' }).click();
    await dialog.getByRole('radio').first().waitFor();
    assert.equal((await rack.attachments()).length, 0); // a preview reserves nothing
    await shoot('preview');
    const donor = await dialog.getByRole('radio').first().getAttribute('value');
    await dialog.getByRole('button', { name: `Attach 3 GiB from ${donor}` }).click();
    await dialog.getByText('attached', { exact: true }).waitFor();
    await shoot('attached');
    const [made] = await rack.attachments();
    assert.equal(made.size_bytes, 3 * GIB);
    assert.equal(made.donor, donor);
    await dialog.getByRole('button', { name: 'Done' }).click();
    await page.locator('.picture .join.circuit.up').waitFor();

    await page.getByRole('button', { name: `Detach 3 GiB of ${donor} from n1` }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Detach 3 GiB' }).click();
    await page.getByRole('dialog').getByText('detached', { exact: true }).waitFor();
    await page.getByRole('dialog').getByRole('button', { name: 'Done' }).click();
    await page.locator('.picture .circuit').first().waitFor({ state: 'detached' });
    await page.getByText('Nothing is borrowed.').waitFor();
    assert.equal((await rack.attachments()).length, 0);
}

export async function another_donor_of_the_preview_can_be_chosen({ page, rack, signIn }) {
    await signIn();
    const dialog = await openDialog(page);
    await dialog.getByLabel('Node that borrows').selectOption('n2');
    await dialog.getByLabel('Size').fill('512');
    await dialog.getByRole('combobox', { name: 'Unit', exact: true }).selectOption('MiB');
    await dialog.getByRole('button', { name: 'Preview' }).click();
    const last = dialog.getByRole('radio').last();
    const donor = await last.getAttribute('value');
    await last.check();
    await dialog.getByRole('button', { name: `from ${donor}` }).click();
    await dialog.getByText('attached', { exact: true }).waitFor();
    assert.equal((await rack.attachments())[0].donor, donor);
}

export async function refusal_names_every_node_and_its_reason({ page, rack, signIn, shoot }) {
    await signIn();
    const nodes = (await rack.call('GET', '/v1/nodes?limit=1000')).items;
    const dialog = await openDialog(page);
    await dialog.getByLabel('Node that borrows').selectOption('n1');
    await dialog.getByLabel('Size').fill('1020');
    await dialog.getByRole('button', { name: 'Preview' }).click();
    await dialog.getByText('No node can lend this much now').waitFor();
    await dialog.getByText('has too little free memory').first().waitFor();
    assert.equal(await dialog.locator('.refused li').count(), nodes.length - 1);
    await shoot('refused');
    await dialog.getByRole('button', { name: 'Back' }).click();
    assert.equal(await dialog.getByLabel('Size').inputValue(), '1020');
}

export async function impossible_size_is_explained({ page, signIn }) {
    await signIn();
    const dialog = await openDialog(page);
    await dialog.getByLabel('Size').fill('5');
    await dialog.getByRole('combobox', { name: 'Unit', exact: true }).selectOption('TiB');
    await dialog.getByRole('button', { name: 'Preview' }).click();
    await dialog.getByRole('alert').waitFor();
}

export async function keyboard_alone_attaches_and_detaches({ page, rack, signIn }) {
    await signIn();
    const focused = () =>
        page.evaluate(() => {
            const e = document.activeElement;
            return e.getAttribute('aria-label') ?? (e.textContent.trim().slice(0, 60) || e.name || e.tagName);
        });
    const tabTo = async (wanted, limit = 80) => {
        for (let i = 0; i < limit; i++) {
            if (wanted.test(await focused()))
                return;
            await page.keyboard.press('Tab');
        }
        assert.fail(`${wanted} was not reached with Tab; the focus is on ${await focused()}`);
    };
    await tabTo(/^Attach memory/);
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').waitFor();
    await page.keyboard.type('n4'); // the focus is on the node's list
    await page.keyboard.press('Tab');
    await page.keyboard.press('Control+A');
    await page.keyboard.type('2');
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').getByRole('radio').first().waitFor();
    await page.locator('button:focus', { hasText: /^Attach 2 GiB from/ }).waitFor(); // a frame later
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').getByText('attached', { exact: true }).waitFor();
    const [made] = await rack.attachments();
    assert.equal(made.compute_node, 'n4');
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    assert.match(await focused(), /^Attach memory/); // the focus is back where it was
    await tabTo(/^Detach 2 GiB/);
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').waitFor();
    assert.match(await focused(), /^Keep it/); // the harmless one first
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').getByText('detached', { exact: true }).waitFor();
    assert.equal((await rack.attachments()).length, 0);
}
