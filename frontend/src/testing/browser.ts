/** What jsdom lacks and the dashboard uses: colour schemes, sizes of elements, and a canvas that takes every stroke. */

class Sizes {
  observe(): void { return; }
  unobserve(): void { return; }
  disconnect(): void { return; }
}

/** A media query that tests can turn. */
export class Query extends EventTarget {
  static readonly all = new Map<string, Query>();
  matches = false;

  constructor(readonly media: string) {
    super();
  }

  static of(media: string): Query {
    const query = Query.all.get(media) ?? new Query(media);
    Query.all.set(media, query);
    return query;
  }

  turn(matches: boolean): void {
    this.matches = matches;
    this.dispatchEvent(new Event('change'));
  }
}

const canvas = new Proxy({} as Record<string | symbol, unknown>, {
  get: (set, name) => (name in set ? set[name] : name === 'measureText' ? () => ({ width: 10 }) : () => undefined),
  set: (set, name, value: unknown) => ((set[name] = value), true),
});

Object.assign(globalThis, {
  ResizeObserver: Sizes,
  Path2D: class { constructor() { return new Proxy(this, { get: () => () => undefined }); } },
});
Object.assign(window, { matchMedia: (media: string) => Query.of(media) });
Object.assign(HTMLCanvasElement.prototype, { getContext: () => canvas });
Object.assign(Element.prototype, { scrollIntoView: () => undefined });
