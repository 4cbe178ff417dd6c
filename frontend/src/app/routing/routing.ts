import { ChangeDetectionStrategy, Component, computed, inject, signal } from '@angular/core';
import { FormsModule } from '@angular/forms';
import { Api, sentence } from '../api/api';
import { Me } from '../api/me';
import { PageItem, ReceiverItem, RouteItem, RouteRequest, Routed } from '../api/messages';
import { acting } from '../parts/acting';
import { Clock } from '../parts/clock';
import { many } from '../parts/format';
import { matcherText, parseMatchers } from '../policies/draft';
import { Steps } from './steps';

const DAY_MS = 86_400_000;
const ROOT = 'default';

/** A route as the form holds it. */
interface Draft { name: string; parent: string; order: number | null; selector: string; own: boolean; receivers: string[]; continue: boolean }
interface Row { route: RouteItem; depth: number; told: string }
/** How often somebody would have been told that an alert fires: by the routes in force, and by the draft. */
interface Woken { receiver: string; now: number; then: number }

const blank = (): Draft => ({ name: '', parent: ROOT, order: null, selector: '', own: true, receivers: [], continue: false });

/** Routes: the tree that leads alerts to receivers, edited with a look at the past, and asked whom it would tell. */
@Component({
  selector: 'q-routing',
  imports: [FormsModule, Steps],
  changeDetection: ChangeDetectionStrategy.OnPush,
  templateUrl: './routing.html',
  styles: '.answer, .alone { margin: 0; padding: 4px 18px 10px; } .alone { padding-top: 12px; }',
})
export class Routing {
  protected readonly items = signal<RouteItem[] | null>(null);
  protected readonly receivers = signal<ReceiverItem[]>([]);
  /** The route that is edited, or its absence: a new one. */
  protected readonly edited = signal<RouteItem | 'new' | null>(null);
  protected readonly routed = signal<Routed | null>(null);
  protected readonly woken = signal<Woken[] | null>(null);
  protected readonly error = signal('');
  protected readonly busy = signal(false);
  protected readonly rows = computed(() => rowsOf(this.items() ?? []));
  protected readonly isRoot = computed(() => this.draftIsRoot(this.edited()));
  /** Where the edited route can be put: not below itself. */
  protected readonly parents = computed(() => {
    const edited = this.edited();
    const below = new Set(edited && edited !== 'new' ? [edited.name] : []);
    for (const one of this.items() ?? []) if (below.has(one.parent)) below.add(one.name);
    return (this.items() ?? []).filter((one) => !below.has(one.name)).map((one) => one.name);
  });
  protected readonly me = inject(Me);
  protected readonly many = many;
  protected readonly matcherText = matcherText;
  protected draft = blank();
  protected labels = '';
  private readonly api = inject(Api);
  private readonly clock = inject(Clock);

  constructor() {
    void this.load();
  }

  protected start(route: RouteItem | 'new' | null): void {
    this.edited.set(route);
    this.woken.set(null);
    this.error.set('');
    this.draft = route && route !== 'new' ? draftOf(route) : blank();
  }

  protected tell(name: string, told: boolean): void {
    const others = this.draft.receivers.filter((one) => one !== name);
    this.draft.receivers = told ? [...others, name] : others;
    this.woken.set(null);
  }

  protected save(): Promise<void> {
    return this.act(async () => {
      const edited = this.edited();
      const wanted = requestOf(this.draft);
      if (edited && edited !== 'new') await this.api.editRoute(edited.version, wanted);
      else await this.api.createRoute(wanted);
      this.start(null);
    }, () => this.load());
  }

  protected remove(one: RouteItem): Promise<void> {
    if (!confirm(`Delete the route “${one.name}”? Alerts that it takes go on to those after it, or stay with “${one.parent}”.`)) return Promise.resolve();
    return this.act(() => this.api.deleteRoute(one.name), () => this.load());
  }

  /** Show whom an alert with these labels would be told to. */
  protected ask(): Promise<void> {
    return this.act(async () => this.routed.set(await this.api.testRoutes(labelsOf(this.labels))));
  }

  /** Show who would have been woken on the last day, had the route been like that. */
  protected lookBack(): Promise<void> {
    return this.act(async () => {
      const wanted = requestOf(this.draft);
      const others = (this.items() ?? []).filter((one) => one.name !== wanted.name).map(plain);
      const end = this.clock.nowMs();
      const now = await this.api.tryRoutes((this.items() ?? []).map(plain), end - DAY_MS, end);
      const then = await this.api.tryRoutes([...others, wanted], end - DAY_MS, end);
      this.woken.set(compared(now.pages, then.pages));
    });
  }

  private draftIsRoot(edited: RouteItem | 'new' | null): boolean {
    return edited !== null && edited !== 'new' && edited.name === ROOT;
  }

  private act(work: () => Promise<unknown>, show?: () => Promise<void>): Promise<void> {
    return acting(this.busy, this.error, work, show);
  }

  private async load(): Promise<void> {
    try {
      const [routes, receivers] = await Promise.all([this.api.routes(), this.api.receivers()]);
      this.items.set(routes.items);
      this.receivers.set(receivers.items);
    } catch (error) {
      this.error.set(sentence(error));
    }
  }
}

/** The tree as lines: how deep each is, and whom it tells. */
function rowsOf(items: RouteItem[]): Row[] {
  const known = new Map<string, { depth: number; receivers: string[] }>();
  return items.map((route) => {
    const parent = known.get(route.parent);
    const receivers = route.receivers ?? parent?.receivers ?? [];
    const depth = parent ? parent.depth + 1 : 0;
    known.set(route.name, { depth, receivers });
    const told = receivers.length ? `tells ${receivers.join(', ')}` : 'tells nobody';
    return { route, depth, told: route.receivers ? told : `${told}, as ${route.parent} does` };
  });
}

function draftOf(route: RouteItem): Draft {
  const selector = route.matchers.length ? matcherText(route.matchers) : '';
  return { name: route.name, parent: route.parent, order: route.order, selector, own: route.receivers !== null, receivers: [...(route.receivers ?? [])], continue: route.continue };
}

function requestOf(draft: Draft): RouteRequest {
  return {
    name: draft.name.trim(), parent: draft.parent, ...(draft.order === null ? {} : { order: draft.order }),
    matchers: isEmpty(draft.selector) ? [] : parseMatchers(draft.selector), receivers: draft.own ? draft.receivers : null, continue: draft.continue,
  };
}

function plain({ name, parent, order, matchers, receivers, continue: goesOn }: RouteItem): RouteRequest {
  return { name, parent, order, matchers, receivers, continue: goesOn };
}

function labelsOf(text: string): Record<string, string> {
  if (isEmpty(text)) return {};
  const matchers = parseMatchers(text);
  const odd = matchers.find((one) => one.op !== '=');
  if (odd) throw new Error(`An alert has one value for each label: write ${odd.label}="…".`);
  return Object.fromEntries(matchers.map((one) => [one.label, one.value]));
}

function isEmpty(selector: string): boolean {
  return /^\s*(\{\s*\})?\s*$/.test(selector);
}

function compared(now: PageItem[], then: PageItem[]): Woken[] {
  const times = (pages: PageItem[], name: string) => pages.filter((one) => one.receiver === name && one.state === 'firing').length;
  const names = [...new Set([...now, ...then].filter((one) => one.state === 'firing').map((one) => one.receiver))].sort();
  return names.map((receiver) => ({ receiver, now: times(now, receiver), then: times(then, receiver) }));
}
