// theme.js - the switch between light, dark, and what the system says.
import { html } from 'htm/preact';
import { signal } from '@preact/signals';

const key = 'memlane-theme';
const order = ['auto', 'light', 'dark'];
const signs = { auto: '◐', light: '☀', dark: '☾' };
const chosen = signal(order.includes(localStorage.getItem(key)) ? localStorage.getItem(key) : 'auto');

function next() {
    chosen.value = order[(order.indexOf(chosen.value) + 1) % order.length];
    localStorage.setItem(key, chosen.value);
    if (chosen.value === 'auto')
        delete document.documentElement.dataset.theme;
    else
        document.documentElement.dataset.theme = chosen.value;
}

export function ThemeButton() {
    const label = `Colours: ${chosen.value === 'auto' ? 'as the system' : chosen.value}`;
    return html`<button class="plain sign" onClick=${next} aria-label=${label} title=${label}>
        <span aria-hidden="true">${signs[chosen.value]}</span>
    </button>`;
}
