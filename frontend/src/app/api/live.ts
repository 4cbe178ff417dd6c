import { Injectable, InjectionToken, NgZone, inject, signal } from '@angular/core';
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

/**
 * The live WebSocket: subscriptions by topic, shared by everybody who watches the same one. It reconnects with growing,
 * jittered pauses, and tells watchers of every gap, a reconnection included, so that they can read what they missed.
 */
@Injectable({ providedIn: 'root' })
export class Live {
  readonly connection = signal<Connection>('connecting');
  readonly lastMessageMs = signal(0);
  private readonly open = inject(SOCKET);
  private readonly zone = inject(NgZone);
  private readonly watches = new Map<string, Set<Watch>>();
  private socket: WebSocket | null = null;
  private failures = 0;
  private wasLive = false;

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
        this.say('unsubscribe', topic);
      }
    };
  }

  private connect(): void {
    if (this.socket) return;
    const socket = (this.socket = this.open(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/api/v1/live`));
    socket.onopen = () => {
      this.failures = 0;
      this.connection.set('live');
      for (const topic of this.watches.keys()) this.say('subscribe', topic);
      if (this.wasLive) for (const entries of this.watches.values()) for (const entry of entries) entry.onGap();
      this.wasLive = true;
    };
    socket.onmessage = (message: MessageEvent<string>) => this.zone.run(() => this.hear(JSON.parse(message.data) as LiveEvent));
    socket.onclose = () => this.retry();
  }

  private retry(): void {
    this.socket = null;
    this.connection.set('lost');
    const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.failures++) * (0.5 + Math.random() / 2);
    setTimeout(() => this.connect(), pause);
  }

  private hear(event: LiveEvent): void {
    this.lastMessageMs.set(Date.now());
    for (const entry of this.watches.get(event.topic) ?? []) {
      if (event.type === 'event') entry.onData(event.data);
      if (event.type === 'gap') entry.onGap();
    }
  }

  private say(op: 'subscribe' | 'unsubscribe', topic: string): void {
    if (this.socket?.readyState === 1) this.socket.send(JSON.stringify({ op, topic }));
  }
}
