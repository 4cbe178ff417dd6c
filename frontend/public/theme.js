// Runs before the first paint, so that the chosen theme does not flash.
(() => {
  const chosen = localStorage.getItem('quantum.theme');
  const dark = chosen === 'dark' || (chosen !== 'light' && matchMedia('(prefers-color-scheme: dark)').matches);
  document.documentElement.dataset.theme = dark ? 'dark' : 'light';
})();
