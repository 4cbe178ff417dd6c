import { Routes } from '@angular/router';

export const routes: Routes = [
  { path: '', pathMatch: 'full', title: 'Overview · Quantum', loadComponent: () => import('./overview/overview').then((m) => m.Overview) },
  { path: 'explore', title: 'Explore · Quantum', loadComponent: () => import('./explore/explore').then((m) => m.Explore) },
  { path: 'series/:fingerprint', title: 'Series · Quantum', loadComponent: () => import('./explore/series').then((m) => m.SeriesPage) },
  { path: 'alerts', title: 'Alerts · Quantum', loadComponent: () => import('./alerts/alerts').then((m) => m.Alerts) },
  { path: 'alerts/:id', title: 'Alert · Quantum', loadComponent: () => import('./alerts/alert').then((m) => m.AlertPage) },
  { path: 'incidents', title: 'Incidents · Quantum', loadComponent: () => import('./incidents/incidents').then((m) => m.Incidents) },
  { path: 'incidents/:id', title: 'Incident · Quantum', loadComponent: () => import('./incidents/incident').then((m) => m.IncidentPage) },
  { path: 'policies', title: 'Policies · Quantum', loadComponent: () => import('./policies/policies').then((m) => m.Policies) },
  { path: 'silences', title: 'Silences · Quantum', loadComponent: () => import('./silences/silences').then((m) => m.Silences) },
  { path: 'routes', title: 'Routes · Quantum', loadComponent: () => import('./routing/routing').then((m) => m.Routing) },
  { path: 'models', title: 'Models · Quantum', loadComponent: () => import('./models/models').then((m) => m.Models) },
  { path: 'audit', title: 'Audit · Quantum', loadComponent: () => import('./audit/audit').then((m) => m.Audit) },
  { path: 'replay', title: 'Time machine · Quantum', loadComponent: () => import('./replay/replay').then((m) => m.Replay) },
  { path: 'keys', title: 'API keys · Quantum', loadComponent: () => import('./keys/keys').then((m) => m.Keys) },
  { path: '**', title: 'Not found · Quantum', loadComponent: () => import('./shell/not-found').then((m) => m.NotFound) },
];
