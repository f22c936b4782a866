// The first of all: what is in the page is seen without any module, so they begin when it has been drawn. Where nobody looks
// nothing is drawn, and a browser may not say when it draws: then they begin a little later.

const LATEST_MS = 250;

await new Promise((resolve) => {
  new PerformanceObserver(resolve).observe({ type: "paint", buffered: true });
  setTimeout(resolve, document.hidden ? 0 : LATEST_MS);
});
