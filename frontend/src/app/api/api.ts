import { HttpClient, HttpErrorResponse, HttpParams } from '@angular/common/http';
import { Injectable, inject } from '@angular/core';
import { NEVER, Observable, firstValueFrom, takeUntil } from 'rxjs';
import {
  AlertDetail, AlertPage, AlertState, ApiKeyItem, ApiKeyRequest, AuditPage, BudgetItem, CoveragePage, ForecastItem, IncidentDetail, IncidentItem, IncidentPageMessage, IncidentState, Labels, LearnRequest, LessonItem, LiveTicket, Matcher, ModelItem, ModelList, MovedItem, OptionItem, Outcome, OverviewMessage,
  PolicyItem, PolicyRequest, Problem, ProposalItem, ReceiverItem, ReplayReport, RouteItem, RouteRequest, Routed, ScheduleRequest, SeriesItem, SeriesPage, Session, SilenceItem, SilencePreview, SilenceRequest, SilenceState, TrainingRequest, TrainingRunItem, TrialItem, Verdict, WhyCard, Window,
} from './messages';

type Query = Record<string, string | number | boolean | readonly string[]>;

/** The HTTP API, one function per use. Failures are rejected promises; `sentence` turns them into words. */
@Injectable({ providedIn: 'root' })
export class Api {
  private readonly http = inject(HttpClient);

  session = () => this.get<Session>('session');
  signOut = () => this.post<{ end_session: string }>('logout');
  liveTicket = () => this.post<LiveTicket>('live/tickets');
  overview = () => this.get<OverviewMessage>('overview');
  findSeries = (q: string, limit = 100, cursor?: string | null) => {
    const selector = q.includes('{') || q.includes('=');
    return this.get<SeriesPage>('series', { ...(selector ? { 'match[]': q } : { q }), limit, ...(cursor ? { cursor } : {}) });
  };
  series = (fingerprint: string) => this.get<SeriesItem>(`series/${fingerprint}`);
  window = (fingerprint: string, start_ms: number, end_ms: number, points: number) =>
    this.get<Window>(`series/${fingerprint}/window`, { start_ms: Math.max(0, Math.floor(start_ms)), end_ms: Math.ceil(end_ms), points });
  why = (fingerprint: string, at_ms: number) => this.get<WhyCard>(`series/${fingerprint}/why`, { at_ms });
  forecast = (fingerprint: string, horizon_ms: number, limit: number | null) =>
    this.get<ForecastItem>(`series/${fingerprint}/forecast`, { horizon_ms, ...(limit === null ? {} : { limit }) });
  whatMoved = (start_ms: number, end_ms: number) => this.get<{ items: MovedItem[] }>('what-moved', { start_ms, end_ms, limit: 20 });
  coverage = (cursor: string | null, limit: number) => this.get<CoveragePage>('models/coverage', { limit, ...(cursor ? { cursor } : {}) });
  alerts = (state: AlertState[], cursor?: string | null) =>
    this.get<AlertPage>('alerts', { state, limit: 50, ...(cursor ? { cursor } : {}) });
  alert = (id: string) => this.get<AlertDetail>(`alerts/${id}`);
  incidents = (state: IncidentState[], cursor?: string | null) =>
    this.get<IncidentPageMessage>('incidents', { state, limit: 50, ...(cursor ? { cursor } : {}) });
  incident = (id: string) => this.get<IncidentDetail>(`incidents/${id}`);
  acknowledge = (id: string) => this.post<IncidentItem>(`incidents/${id}/acknowledge`);
  resolve = (id: string) => this.post<IncidentItem>(`incidents/${id}/resolve`);
  judge = (id: string, verdict: Verdict) => this.post<IncidentItem>(`incidents/${id}/verdict`, { verdict });
  note = (id: string, text: string) => this.post<IncidentItem>(`incidents/${id}/note`, { text });
  audit = (outcome: Outcome[], q: string, cursor?: string | null) =>
    this.get<AuditPage>('audit', { outcome, limit: 50, ...(q ? { q } : {}), ...(cursor ? { cursor } : {}) });
  policies = () => this.get<{ items: PolicyItem[] }>('policies');
  budget = (id: string) => this.get<BudgetItem>(`policies/${id}/budget`);
  createPolicy = (policy: PolicyRequest) => this.post<PolicyItem>('policies', policy);
  editPolicy = (id: string, version: number, policy: PolicyRequest) =>
    firstValueFrom(this.http.put<PolicyItem>(`/api/v1/policies/${id}`, policy, { headers: { 'If-Match': `"${version}"` } }));
  deletePolicy = (id: string) => firstValueFrom(this.http.delete<void>(`/api/v1/policies/${id}`));
  /** What verdicts teach a policy; null if it was stopped before there was an answer. */
  propose = (id: string, stop: Observable<unknown>) => this.post<ProposalItem | null>(`policies/${id}/propose`, {}, stop);
  learn = (id: string, change: LearnRequest) => this.post<OptionItem>(`policies/${id}/learn`, change);
  unlearn = (id: string) => this.post<PolicyItem>(`policies/${id}/unlearn`);
  lessons = (id: string) => this.get<{ items: LessonItem[] }>(`policies/${id}/lessons`);
  /** Alerts of one policy that began within a time; at most the newest 500. */
  alertsOf = (policy_id: string, start_ms: number, end_ms: number) => this.get<AlertPage>('alerts', { policy_id, start_ms, end_ms, limit: 500 });
  /** What a draft would have done; null if it was stopped before there was an answer. */
  preview = (policy: PolicyRequest, start_ms: number, end_ms: number, stop: Observable<unknown>) =>
    this.post<ReplayReport | null>('policies/preview', { policy, start_ms, end_ms }, stop);
  /** What would have happened under some policies, or with none given under those of the time; null if it was stopped. */
  replay = (policies: PolicyRequest[] | null, start_ms: number, end_ms: number, stop: Observable<unknown>) =>
    this.post<ReplayReport | null>('replay', { start_ms, end_ms, ...(policies ? { policies } : {}) }, stop);
  silences = (state: SilenceState[]) => this.get<{ items: SilenceItem[] }>('silences', { state });
  previewSilence = (asked: { matchers: Matcher[]; schedule?: ScheduleRequest }) => this.post<SilencePreview>('silences/preview', asked);
  createSilence = (silence: SilenceRequest) => this.post<SilenceItem>('silences', silence);
  endSilence = (id: string) => firstValueFrom(this.http.delete<void>(`/api/v1/silences/${id}`));
  routes = () => this.get<{ items: RouteItem[] }>('routes');
  createRoute = (route: RouteRequest) => this.post<RouteItem>('routes', route);
  editRoute = (version: number, route: RouteRequest) =>
    firstValueFrom(this.http.put<RouteItem>(`/api/v1/routes/${encodeURIComponent(route.name)}`, route, { headers: { 'If-Match': `"${version}"` } }));
  deleteRoute = (name: string) => firstValueFrom(this.http.delete<void>(`/api/v1/routes/${encodeURIComponent(name)}`));
  testRoutes = (labels: Labels) => this.post<Routed>('routes/test', { labels });
  tryRoutes = (routes: RouteRequest[], start_ms: number, end_ms: number) => this.post<ReplayReport>('replay', { routes, start_ms, end_ms });
  receivers = () => this.get<{ items: ReceiverItem[] }>('receivers');
  createReceiver = (name: string, url: string, secret: string) =>
    this.post<ReceiverItem>('receivers', { name, url, ...(secret ? { secret } : {}) });
  deleteReceiver = (name: string) => firstValueFrom(this.http.delete<void>(`/api/v1/receivers/${encodeURIComponent(name)}`));

  models = () => this.get<ModelList>('models');
  tryModel = (name: string, version: number) => this.post<TrialItem>(`models/${encodeURIComponent(name)}/try`, { version });
  promoteModel = (name: string, version: number) => this.post<TrialItem>(`models/${encodeURIComponent(name)}/promote`, { version });
  rollBackModel = (name: string) => this.post<ModelItem>(`models/${encodeURIComponent(name)}/roll-back`);
  trainingRuns = () => this.get<{ items: TrainingRunItem[] }>('training-runs');
  train = (order: TrainingRequest) => this.post<TrainingRunItem>('training-runs', order);
  cancelTraining = (id: string) => this.post<TrainingRunItem>(`training-runs/${id}/cancel`);
  keys = () => this.get<{ items: ApiKeyItem[] }>('api-keys');
  /** Make a key; the answer is the only one that has it. */
  createKey = (key: ApiKeyRequest) => this.post<{ key: string; item: ApiKeyItem }>('api-keys', key);
  revokeKey = (id: string) => firstValueFrom(this.http.delete<void>(`/api/v1/api-keys/${id}`));

  private get<T>(path: string, query: Query = {}): Promise<T> {
    return firstValueFrom(this.http.get<T>(`/api/v1/${path}`, { params: new HttpParams({ fromObject: query }) }));
  }

  private post<T>(path: string, body: unknown = null, stop: Observable<unknown> = NEVER): Promise<T> {
    return firstValueFrom(this.http.post<T>(`/api/v1/${path}`, body).pipe(takeUntil(stop)), { defaultValue: null as T });
  }
}

/** What went wrong, in one sentence for people. */
export function sentence(error: unknown): string {
  if (error instanceof HttpErrorResponse) {
    if (error.status === 0) return 'Quantum cannot be reached. Is it still running?';
    const problem = error.error as Problem | null;
    if (problem?.reason === 'forbidden') return `You may not do that: ${problem.detail}.`;
    return problem?.detail ?? `The server answered ${error.status}.`;
  }
  return error instanceof Error ? error.message : String(error);
}
