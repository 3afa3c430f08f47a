namespace SdnEdge.Demo.Report;

/// <summary>The page's style sheet; both colour schemes from one set of names.</summary>
internal static class HtmlStyle
{
    public const string Css = """
        :root {
          color-scheme: light dark;
          --page: #f6f7f9; --card: #ffffff; --ink: #14181f; --soft: #5a6472; --faint: #e3e7ec; --line: #c9d0d8;
          --accent: #2563c9; --accent-soft: #2563c955; --back: #7d5bc4; --back-soft: #7d5bc455;
          --good: #14804a; --bad: #c9302c; --amber: #c77700;
          --a: #2563c912; --b: #e08a0026; --c: #14804a1c; --dark: #14181f14;
          --a-strong: #2563c92a; --b-strong: #e08a0050; --c-strong: #14804a48; --amber-soft: #c7770099;
        }
        @media (prefers-color-scheme: dark) {
          :root {
            --page: #0f1216; --card: #171b21; --ink: #e8ecf1; --soft: #98a3b1; --faint: #262c34; --line: #3a434e;
            --accent: #6ea8ff; --accent-soft: #6ea8ff55; --back: #b79bf2; --back-soft: #b79bf255;
            --good: #4cc38a; --bad: #ff6b66; --amber: #ffb347;
            --a: #6ea8ff14; --b: #ffb34726; --c: #4cc38a1c; --dark: #ffffff12;
            --a-strong: #6ea8ff30; --b-strong: #ffb34755; --c-strong: #4cc38a50; --amber-soft: #ffb34799;
          }
        }
        * { box-sizing: border-box; }
        body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
        main { max-width: 1180px; margin: 0 auto; padding: 36px 24px 60px; }
        .kicker { margin: 0 0 6px; color: var(--soft); font-size: 13px; letter-spacing: .04em; }
        h1 { margin: 0 0 12px; font-size: 32px; line-height: 1.2; font-weight: 600; letter-spacing: -.01em; text-wrap: balance; }
        h1 b { font-weight: 600; } .whole { white-space: nowrap; }
        h2 { margin: 0 0 12px; font-size: 16px; font-weight: 600; }
        .lede { margin: 0; color: var(--soft); font-size: 16px; }
        .good { color: var(--good); } .bad { color: var(--bad); font-weight: 600; } .none { color: var(--soft); }
        .badge { display: inline-block; padding: 1px 10px; margin-right: 6px; border-radius: 99px; color: #fff; font-weight: 600; font-size: 14px; }
        .badge.pass { background: #14804a; } .badge.fail { background: #c9302c; }
        .failures { margin: 14px 0 0; padding: 12px 16px 12px 34px; border: 1px solid var(--bad); border-radius: 8px; color: var(--bad); }
        .tiles { display: grid; grid-template-columns: repeat(4, 1fr); gap: 1px; margin: 26px 0 16px; border: 1px solid var(--faint); border-radius: 12px; overflow: hidden; background: var(--faint); }
        .tile { padding: 14px 18px 12px; background: var(--card); }
        .tile .value { font-size: 26px; font-weight: 600; line-height: 1.15; font-variant-numeric: tabular-nums; }
        .tile .value small { margin-left: 4px; font-size: 14px; font-weight: 500; color: var(--soft); }
        .tile .label { color: var(--soft); font-size: 13px; }
        .card { margin: 16px 0 0; padding: 18px 20px; border: 1px solid var(--faint); border-radius: 12px; background: var(--card); }
        .phases { display: grid; grid-template-columns: repeat(3, 1fr); gap: 16px; }
        .phases figure { margin: 0; display: flex; flex-direction: column; justify-content: space-between; }
        .phases figcaption b { display: block; } .phases figcaption span { color: var(--soft); font-size: 13.5px; }
        @media (max-width: 760px) { .tiles { grid-template-columns: repeat(2, 1fr); } .phases { grid-template-columns: 1fr; } h1 { font-size: 25px; } }
        .scroll { overflow-x: auto; }
        table { width: 100%; border-collapse: collapse; font-size: 13.5px; font-variant-numeric: tabular-nums; }
        th, td { padding: 5px 8px; text-align: right; border-bottom: 1px solid var(--faint); white-space: nowrap; }
        thead th { color: var(--soft); font-weight: 500; vertical-align: bottom; white-space: normal; line-height: 1.25; }
        th:first-child, .facts td { text-align: left; } tbody th { font-weight: 500; }
        tbody tr:last-child > * { border-bottom: 0; } .sep { border-left: 1px solid var(--line); }
        .facts th { width: 320px; color: var(--soft); } .facts td { white-space: normal; }
        .foot { margin: 10px 0 0; color: var(--soft); font-size: 13px; }
        svg { display: block; width: 100%; height: auto; font-family: inherit; }
        svg text { fill: var(--soft); font-size: 11px; font-variant-numeric: tabular-nums; }
        .phase-a { fill: var(--a); } .phase-b { fill: var(--b); } .phase-c { fill: var(--c); } .blackout { fill: var(--dark); }
        svg .blackout-name { fill: var(--amber); font-weight: 600; } svg .phase-name { fill: var(--ink); font-size: 12px; font-weight: 600; }
        .stage { fill: var(--ink); } svg .stage-name { fill: var(--ink); font-size: 12px; }
        .lane { fill: none; } .grid { stroke: var(--line); stroke-width: .6; opacity: .7; } .axis { stroke: var(--line); }
        svg .lane-name { fill: var(--ink); font-size: 12.5px; font-weight: 600; } svg .lane-good { fill: var(--good); font-weight: 600; font-size: 12px; }
        svg .lane-bad { fill: var(--bad); font-weight: 700; font-size: 12px; } svg .note { fill: var(--ink); }
        .band { fill: var(--accent); stroke: var(--accent); stroke-width: .8; } .band-reverse { fill: var(--back); stroke: var(--back); stroke-width: .8; }
        .remaining { fill: var(--accent-soft); stroke: var(--accent); stroke-width: 1.2; } .gate { fill: var(--b); } .pass { stroke: var(--line); stroke-dasharray: 2 3; }
        .rate { fill: none; stroke: var(--accent); stroke-width: 1.6; } .dirty { fill: none; stroke: var(--back); stroke-width: 1.6; stroke-dasharray: 5 3; }
        .span { stroke: var(--card); stroke-width: 1; } svg .span-name { fill: var(--ink); font-size: 11.5px; font-weight: 500; }
        .at-source { fill: var(--accent-soft); } .at-target { fill: var(--c-strong); } .still { fill: var(--amber-soft); }
        .tunnelled { fill: var(--b-strong); }
        .copying { fill: var(--accent); } .write { fill: var(--ink); opacity: .75; }
        .mode-async { fill: var(--a-strong); } .mode-semantic { fill: var(--c-strong); } .mode-sync { fill: var(--b-strong); }
        .lost { fill: var(--bad); } .direct { stroke: var(--good); stroke-width: 1.6; stroke-dasharray: 3 2; }
        .node { fill: var(--card); stroke: var(--line); stroke-width: 1.4; } svg .fig-node { fill: var(--ink); font-size: 13px; font-weight: 500; }
        .site { fill: var(--faint); } .site-empty { fill: none; stroke: var(--line); stroke-dasharray: 4 3; }
        .server { fill: var(--accent); } .server-moving { fill: var(--amber); } svg .fig-server { fill: #fff; font-size: 12px; font-weight: 600; }
        svg .fig-note { font-size: 12px; } .way-idle { stroke: var(--faint); stroke-width: 2; } .way-live { stroke: var(--accent); stroke-width: 2.4; }
        .way-held { stroke: var(--amber); stroke-width: 2.4; stroke-dasharray: 3 4; } .way-tunnel { stroke: var(--amber); stroke-width: 7; stroke-linecap: round; opacity: .85; }
        .move-arrow { fill: none; stroke: var(--amber); stroke-width: 1.6; }

        """;
}
