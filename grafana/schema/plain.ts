// Grafana's types as they look in JSON: an enumeration is any of its values, a date is a string.
export type Plain<T> = T extends string
  ? `${T}`
  : T extends number | boolean | null | undefined
    ? T
    : T extends Array<infer U>
      ? Array<Plain<U>>
      : T extends object
        ? { [K in keyof T]: Plain<T[K]> }
        : T;

// A query of Prometheus. Its own type lives in a plugin; this is what the documentation of its JSON
// model says, on top of what every query has.
import type { DataQuery } from "./node_modules/@grafana/schema/dist/esm/common/common.gen";

export interface PrometheusQuery extends DataQuery {
  expr: string;
  legendFormat?: string;
  instant?: boolean;
  range?: boolean;
  exemplar?: boolean;
}
