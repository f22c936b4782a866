// A list of any length of which only what is seen is in the document. A search goes on behind a key, not at a number, so
// pages are asked for one after the other, a little ahead of whoever scrolls. Where each begins is kept, what is in it only
// near what is seen: those who scroll back have it asked for again.

import { make, unique } from "./dom.js";

const PAGE_ROWS = 200;
// So many pages around what is seen are kept.
const KEPT_PAGES = 40;
// Browsers draw no element of any height. Past so many rows the list moves along what it stands for.
const WINDOW_ROWS = 400_000;
const AHEAD_ROWS = 600;
const OVERSCAN = 6;

export class Rows {
  // `label`: what it is called. `draw(row, item, index)`: fills a row. `open(item, { isByMoving })`: what is chosen.
  // `failed(problem)`: what could not be fetched. `moved(first, last)`: which rows are seen.
  constructor(host, { label, draw, open, failed, moved }) {
    Object.assign(this, { host, draw, open, failed, moved });
    this.space = make("div", { class: "space", role: "presentation" });
    host.append(this.space);
    host.setAttribute("role", "listbox");
    host.setAttribute("aria-label", label);
    host.tabIndex = 0;
    this.prefix = unique("row");
    this.elements = new Map();
    this.forget();
    host.addEventListener("scroll", () => this.soon(), { passive: true });
    host.addEventListener("keydown", (event) => this.pressed(event));
    host.addEventListener("click", (event) => this.clicked(event));
    new ResizeObserver(() => this.measure()).observe(host);
  }

  forget() {
    this.pages = [{ after: null, items: null, count: 0 }];
    this.known = 0;
    this.total = null;
    this.isDone = false;
    this.first = 0;
    this.active = -1;
    this.loading?.abort();
    this.loading = null;
  }

  // Shows another list. What was shown stays until its first page is here. `source(after, limit, signal)` gives
  // `{ items, next, total }`; `next` is behind what to go on, or null.
  async reset(source) {
    this.loading?.abort();
    const loading = new AbortController();
    this.loading = loading;
    let page;
    try {
      page = await source(null, PAGE_ROWS, loading.signal);
    } catch (problem) {
      if (this.loading === loading) this.loading = null;
      throw problem;
    }
    if (this.loading !== loading) return null;
    this.forget();
    this.source = source;
    this.accept(0, page);
    for (const element of this.elements.values()) element.remove();
    this.elements.clear();
    this.host.scrollTop = 0;
    this.measure();
    return page;
  }

  // Asks again for what is seen, since it may have changed.
  refresh() {
    if (!this.source) return;
    this.loading?.abort();
    this.loading = null;
    for (const page of this.pages) page.stale = true;
    this.render();
  }

  // Takes a page that came. One that ends elsewhere than it did makes those behind it worth nothing.
  accept(at, { items, next, total }) {
    const page = this.pages[at];
    page.items = items;
    page.count = items.length;
    page.stale = false;
    if (total !== null && total !== undefined) this.total = total;
    const following = this.pages[at + 1];
    const isAsKnown = following ? following.after === next && items.length === PAGE_ROWS : false;
    if (!isAsKnown) {
      this.pages.length = at + 1;
      if (next !== null) this.pages.push({ after: next, items: null, count: 0 });
    }
    this.isDone = this.pages.at(-1).items !== null || this.pages.at(-1).count > 0;
    this.known = (this.pages.length - 1) * PAGE_ROWS + (this.isDone ? this.pages.at(-1).count : 0);
    for (const element of this.elements.values()) element.stale = true;
  }

  // How many rows there are to scroll through: those that are known, and a page of what is to come.
  get extent() {
    if (this.isDone) return this.known;
    const coming = this.total === null ? PAGE_ROWS : Math.max(1, Math.min(PAGE_ROWS, this.total - this.known));
    return this.known + coming;
  }

  item(index) {
    return this.pages[Math.floor(index / PAGE_ROWS)]?.items?.[index % PAGE_ROWS];
  }

  measure() {
    const size = parseFloat(getComputedStyle(document.documentElement).fontSize);
    this.height = Math.round(size * 2.125);
    this.soon();
  }

  soon() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.render();
    });
  }

  // The first and the last row that is seen, and one behind.
  seen() {
    const top = this.first + Math.floor(this.host.scrollTop / this.height);
    return [top, Math.min(this.extent, top + Math.ceil(this.host.clientHeight / this.height) + 1)];
  }

  render() {
    if (!this.source || !this.host.clientHeight) return;
    this.slide();
    this.grow();
    const [top, end] = this.seen();
    const [from, to] = [Math.max(this.first, top - OVERSCAN), Math.min(this.extent, end + OVERSCAN)];
    for (const [index, element] of this.elements) {
      if (index < from || index >= to) {
        element.remove();
        this.elements.delete(index);
      }
    }
    for (let index = from; index < to; index += 1) this.show(index);
    this.point();
    this.moved?.(top + 1, Math.min(end, this.known), this);
    this.fetch(from, to);
  }

  // Makes room for all rows that there are to scroll through.
  grow() {
    this.space.style.height = `${Math.min(this.extent - this.first, WINDOW_ROWS) * this.height}px`;
  }

  // Moves what the height stands for where its end comes near.
  slide() {
    const rows = this.host.scrollTop / this.height;
    const step = WINDOW_ROWS / 2;
    let by = 0;
    if (rows > WINDOW_ROWS * 0.9 && this.extent - this.first > WINDOW_ROWS * 0.9) by = step;
    else if (rows < WINDOW_ROWS * 0.1 && this.first > 0) by = -Math.min(step, this.first);
    if (!by) return;
    this.first += by;
    this.grow();
    this.host.scrollTop -= by * this.height;
    for (const element of this.elements.values()) element.stale = true;
  }

  show(index) {
    let element = this.elements.get(index);
    const item = this.item(index);
    if (element && !element.stale && element.item === item) return;
    if (!element) {
      element = make("div", { role: "option", id: `${this.prefix}-${index}` });
      element.index = index;
      this.elements.set(index, element);
      // In the order in which they are read, whichever way one scrolls.
      const after = this.elements.get(index + 1);
      this.space.insertBefore(element, after?.isConnected ? after : null);
    }
    element.stale = false;
    element.style.transform = `translateY(${(index - this.first) * this.height}px)`;
    element.style.height = `${this.height}px`;
    if (element.item !== item || !element.firstChild) {
      element.item = item;
      element.className = item === undefined ? "row coming" : "row";
      element.replaceChildren();
      if (item === undefined) element.append(make("span", { class: "soft" }, "…"));
      else this.draw(element, item, index);
    }
    element.setAttribute("aria-posinset", index + 1);
    element.setAttribute("aria-setsize", this.total !== null ? this.total : this.isDone ? this.known : -1);
  }

  // Draws all that is seen again.
  redraw() {
    for (const element of this.elements.values()) {
      element.stale = true;
      element.item = null;
    }
    this.soon();
  }

  // Fetches what is seen and not here, then what comes next; one page at a time, since each says where the next begins.
  async fetch(from, to) {
    if (this.loading) return;
    const lacks = (page) => page && (page.items === null || page.stale);
    const [low, high] = [Math.floor(from / PAGE_ROWS), Math.floor(Math.max(from, to - 1) / PAGE_ROWS)];
    let at = -1;
    for (let page = low; page <= high && at < 0; page += 1) if (lacks(this.pages[page])) at = page;
    if (at < 0 && !this.isDone && to + AHEAD_ROWS > this.known) at = this.pages.length - 1;
    if (at < 0) return;
    const loading = new AbortController();
    const { source } = this;
    this.loading = loading;
    try {
      const page = await source(this.pages[at].after, PAGE_ROWS, loading.signal);
      if (this.loading !== loading || source !== this.source) return;
      this.loading = null;
      this.accept(at, page);
      this.drop(low, high);
      this.soon();
    } catch (problem) {
      if (this.loading !== loading) return;
      this.loading = null;
      if (problem.name !== "AbortError") this.failed(problem);
    }
  }

  drop(low, high) {
    const last = this.pages.length - 1;
    this.pages.forEach((page, at) => {
      if ((at < low - KEPT_PAGES / 2 || at > high + KEPT_PAGES / 2) && at !== last) page.items = null;
    });
  }

  // Marks what is active, and what is chosen.
  point() {
    for (const [index, element] of this.elements) {
      element.setAttribute("aria-selected", String(this.isChosen ? this.isChosen(element.item) : index === this.active));
      element.classList.toggle("active", index === this.active);
    }
    if (this.elements.has(this.active)) this.host.setAttribute("aria-activedescendant", `${this.prefix}-${this.active}`);
    else this.host.removeAttribute("aria-activedescendant");
  }

  move(index) {
    this.active = Math.max(0, Math.min(this.extent - 1, index));
    this.grow();
    const top = (this.active - this.first) * this.height;
    const { scrollTop, clientHeight } = this.host;
    if (top < scrollTop) this.host.scrollTop = top;
    else if (top + this.height > scrollTop + clientHeight) this.host.scrollTop = top + this.height - clientHeight;
    this.render();
    const item = this.item(this.active);
    if (item !== undefined) this.open(item, { isByMoving: true });
  }

  pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const screen = Math.max(1, Math.floor(this.host.clientHeight / this.height) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: screen, PageUp: -screen };
    if (event.key in steps) {
      const start = this.active < 0 ? this.seen()[0] - (steps[event.key] > 0 ? 1 : 0) : this.active;
      this.move(start + steps[event.key]);
    } else if (event.key === "Home") {
      if (this.first > 0) this.first = 0;
      this.host.scrollTop = 0;
      this.redraw();
      this.move(0);
    } else if (event.key === "End") {
      this.move(this.extent - 1);
    } else if (event.key === "Enter" || event.key === " ") {
      const item = this.item(this.active);
      if (item !== undefined) this.open(item, {});
    } else return;
    event.preventDefault();
  }

  clicked(event) {
    const element = event.target.closest("[role=option]");
    if (!element || element.item === undefined) return;
    this.active = element.index;
    this.point();
    this.open(element.item, {});
  }
}
