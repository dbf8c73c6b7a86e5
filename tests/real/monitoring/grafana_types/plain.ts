// Grafana's own types for what is in its JSON: an enum is the word it stands for.
import type { Dashboard, Panel } from "@grafana/schema/dist/esm/raw/dashboard/x/dashboard_types.gen";
import type {
  FieldConfig as TimeseriesField,
  Options as TimeseriesOptions,
} from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";
import type { Options as StatOptions } from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";

export type Plain<T> = T extends string
  ? `${T}`
  : T extends number | boolean | null | undefined
    ? T
    : T extends (infer Item)[]
      ? Plain<Item>[]
      : T extends object
        ? { [Key in keyof T]: Plain<T[Key]> }
        : T;

export type PlainDashboard = Plain<Dashboard>;
export type PlainPanel = Plain<Panel>;
export type TimeseriesPanel = { options: Plain<TimeseriesOptions>; custom: Plain<TimeseriesField> };
export type StatPanel = { options: Plain<StatOptions> };
