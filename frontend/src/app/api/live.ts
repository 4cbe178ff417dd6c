import { Injectable, InjectionToken, Injector, NgZone, OnDestroy, inject, signal } from '@angular/core';
import { Api } from './api';
import { Me } from './me';
import { LiveEvent } from './messages';

export type Connection = 'connecting' | 'live' | 'lost';

/** How a socket is opened; tests hand in their own. */
export const SOCKET = new InjectionToken<(url: string) => WebSocket>('socket', {
  providedIn: 'root',
  factory: () => (url: string) => new WebSocket(url),
});

interface Watch { onData: (data: unknown) => void; onGap: () => void }

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;
/** A laptop that slept, or a network that changed, leaves a socket that looks open and never speaks again. */
const ASK_AFTER_MS = 10_000;
const GIVE_UP_AFTER_MS = 20_000;

/**
 * The live WebSocket: subscriptions by topic, shared by everybody who watches the same one. It reconnects with growing,
 * jittered pauses, gives up a connection on which nothing is heard, and tells watchers of every gap, a reconnection
 * included, so that they can read what they missed.
 */
@Injectable({ providedIn: 'root' })
export class Live implements OnDestroy {
  readonly connection = signal<Connection>('connecting');
  /** When the newest data came, Unix milliseconds; 0 before the first. */
  readonly lastMessageMs = signal(0);
  private readonly open = inject(SOCKET);
  private readonly zone = inject(NgZone);
  private readonly me = inject(Me);
  private readonly injector = inject(Injector);
  private readonly watches = new Map<string, Set<Watch>>();
  /** The number of the newest message of each confirmed subscription. */
  private readonly numbers = new Map<string, number>();
  private socket: WebSocket | null = null;
  private asking = false;
  private pause?: ReturnType<typeof setTimeout>;
  private heardMs = 0;
  private failures = 0;
  private wasLive = false;

  ngOnDestroy(): void {
    clearTimeout(this.pause);
  }

  /** Watch a topic; returns the function that stops it. */
  watch<T>(topic: string, onData: (data: T) => void, onGap: () => void = () => undefined): () => void {
    const entry: Watch = { onData: onData as (data: unknown) => void, onGap };
    const entries = this.watches.get(topic) ?? new Set<Watch>();
    this.watches.set(topic, entries);
    entries.add(entry);
    if (entries.size === 1) this.say('subscribe', topic);
    this.connect();
    return () => {
      entries.delete(entry);
      if (entries.size === 0 && this.watches.get(topic) === entries) {
        this.watches.delete(topic);
        this.numbers.delete(topic);
        this.say('unsubscribe', topic);
      }
    };
  }

  /** Try now instead of after the pause. */
  retryNow(): void {
    this.failures = 0;
    this.connect();
  }

  private connect(): void {
    if (this.socket || this.asking || this.me.mustSignIn()) return;
    if (!this.me.signedIn()) return this.openWith('');
    // a browser sends no header with a socket, and the server takes no cookie for one: it is opened with a ticket
    this.asking = true;
    this.injector.get(Api).liveTicket().then(
      ({ ticket }) => { this.asking = false; this.openWith(`?ticket=${ticket}`); },
      () => { this.asking = false; this.retry(); },
    );
  }

  private openWith(query: string): void {
    const socket = (this.socket = this.open(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/api/v1/live${query}`));
    const watchdog = setInterval(() => this.check(socket), ASK_AFTER_MS);
    this.heardMs = Date.now();
    socket.onopen = () => {
      const late = this.wasLive || this.failures > 0;
      this.failures = 0;
      this.wasLive = true;
      this.connection.set('live');
      for (const topic of [...this.watches.keys()]) {
        this.say('subscribe', topic);
        if (late) this.miss(topic);
      }
    };
    socket.onmessage = (message: MessageEvent<string>) => this.zone.run(() => this.hear(JSON.parse(message.data) as LiveEvent));
    socket.onclose = () => {
      clearInterval(watchdog);
      if (this.socket === socket) this.retry();
    };
  }

  private check(socket: WebSocket): void {
    const silentMs = Date.now() - this.heardMs;
    if (silentMs >= GIVE_UP_AFTER_MS) {
      // the browser may wait a minute for the other side to agree before it says that the socket is closed
      const closed = socket.onclose;
      socket.close();
      closed?.call(socket, new CloseEvent('close'));
    } else if (silentMs >= ASK_AFTER_MS) this.say('ping', '');
  }

  private retry(): void {
    this.socket = null;
    this.numbers.clear();
    this.connection.set('lost');
    const pauseMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.failures++) * (0.5 + Math.random() / 2);
    clearTimeout(this.pause);
    this.pause = setTimeout(() => this.connect(), pauseMs);
  }

  private hear(event: LiveEvent): void {
    this.heardMs = Date.now();
    if (event.type === 'subscribed') this.numbers.set(event.topic, 0);
    if (event.type === 'gap') {
      this.numbers.set(event.topic, event.seq);
      this.miss(event.topic);
    }
    if (event.type !== 'event' || !this.watches.has(event.topic)) return;
    this.lastMessageMs.set(this.heardMs);
    const before = this.numbers.get(event.topic);
    this.numbers.set(event.topic, event.seq);
    if (before !== undefined && event.seq !== before + 1) this.miss(event.topic);
    for (const entry of [...(this.watches.get(event.topic) ?? [])]) entry.onData(event.data);
  }

  private miss(topic: string): void {
    for (const entry of [...(this.watches.get(topic) ?? [])]) entry.onGap();
  }

  private say(op: 'subscribe' | 'unsubscribe' | 'ping', topic: string): void {
    if (this.socket?.readyState === 1) this.socket.send(JSON.stringify(op === 'ping' ? { op } : { op, topic }));
  }
}
