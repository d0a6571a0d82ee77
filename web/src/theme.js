// theme.js - light or dark, before the first paint: what the operator chose here, else what the system says.
const chosen = localStorage.getItem('memlane-theme');
if (chosen === 'light' || chosen === 'dark')
    document.documentElement.dataset.theme = chosen;
