// dialog.js - a modal dialog on the browser's own <dialog>: it keeps the focus inside, Esc closes it.  The focus goes to what
// is marked data-focus, again whenever the dialog's phase changes, and back to where it came from at the end.
import { html } from 'htm/preact';
import { useEffect, useId, useRef } from 'preact/hooks';

export function Dialog({ title, onClose, children, wide, phase }) {
    const box = useRef();
    const id = useId();
    useEffect(() => {
        const opener = document.activeElement;
        box.current.showModal();
        return () => opener?.isConnected && opener.focus();
    }, []);
    useEffect(() => box.current.querySelector('[data-focus]')?.focus(), [phase]);
    return html`<dialog ref=${box} aria-labelledby=${id} class=${wide ? 'wide' : ''} onClose=${onClose}>
        <article>
            <header>
                <h2 id=${id}>${title}</h2>
                <button class="plain sign" aria-label="Close" onClick=${() => box.current.close()}>
                    <span aria-hidden="true">✕</span>
                </button>
            </header>
            ${children}
        </article>
    </dialog>`;
}
