using System.Collections.Concurrent;
using System.Security.Cryptography;
using SdnEdge.Core.Api;
using SdnEdge.Core.Leases;
using SdnEdge.Linux;
using SdnEdge.Web;
using SdnEdge.Witness.Api;
using SdnEdge.Witness.Config;

namespace SdnEdge.Witness;

/// <summary>
/// The witness: the one, at a third place, that says whether a site's servers may still run. A call goes: the leases of that group at that
/// site, one call at a time; <see cref="WitnessMachine"/>; what it wants on disk; the answer. The disk of one keeps no renewal of another
/// waiting.
/// </summary>
public sealed class WitnessAgent : IAsyncDisposable
{
    // As each has a file: what has no name of its own is not made without end.
    private const int MaxLeases = 10_000;

    private readonly WitnessConfig _config;
    private readonly LeaseStore _store;
    private readonly ConcurrentDictionary<(string Group, string Site), Entry> _leases = new();
    private readonly string _incarnation = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(8));
    private readonly long _startedAt;
    private ApiServer? _api;
    private long _granted, _refused;

    private WitnessAgent(WitnessConfig config, LeaseStore store)
    {
        (_config, _store) = (config, store);

        // After the folder is this process's: whatever another one has granted was before.
        _startedAt = BootTime.Now;
    }

    /// <summary>Its API.</summary>
    public ApiServer? Api => _api;

    /// <summary>Events, newest last, bounded.</summary>
    public EventLog Events { get; } = new();

    /// <summary>Starts it. When this returns it grants leases.</summary>
    /// <exception cref="IOException">The state folder or the API's socket cannot be had, or a record cannot be used; the message says why
    /// and what to do.</exception>
    public static async Task<WitnessAgent> StartAsync(WitnessConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        LeaseStore store = LeaseStore.Open(config.StateFolder);
        var witness = new WitnessAgent(config, store);
        try
        {
            foreach (LeaseRecord record in store.Read())
                witness._leases[(record.Group, record.Site)] = new Entry(WitnessMachine.Start(record, witness._startedAt));
            witness._api = await ApiServer.StartAsync(WitnessApi.Options(config, witness));
            return witness;
        }
        catch
        {
            await witness.DisposeAsync();
            throw;
        }
    }

    /// <summary>The witness.</summary>
    public WitnessNodeInfo Node() => new(_config.Name, typeof(WitnessAgent).Assembly.GetName().Version?.ToString(3) ?? "", _incarnation,
        _startedAt, true, _config.Rules.TtlMs, _config.Rules.DriftPpm, _config.Rules.StandstillMs);

    /// <summary>All leases that somebody has opened or revoked, by group and site.</summary>
    public IReadOnlyList<LeaseInfo> Leases()
    {
        long now = BootTime.Now;
        return [.. _leases.Values.Select(e => e.Leases).Where(l => l.IsKnown).Select(l => WitnessMachine.Show(l, _config.Rules, now))
            .OrderBy(l => l.Group, StringComparer.Ordinal).ThenBy(l => l.Site, StringComparer.Ordinal)];
    }

    /// <summary>Those of a group at a site.</summary>
    /// <exception cref="ProblemException">Nobody has opened or revoked any.</exception>
    public LeaseInfo Lease(string group, string site)
        => _leases.TryGetValue((group, site), out Entry? entry) && entry.Leases is { IsKnown: true } leases
            ? WitnessMachine.Show(leases, _config.Rules, BootTime.Now)
            : throw new ProblemException(Problems.NotFound($"nobody has opened leases of {group} at {site} here"));

    /// <summary>Opens them.</summary>
    /// <exception cref="ProblemException">Refused: an older epoch, or one that was revoked.</exception>
    public LeaseInfo Open(string group, string site, LeaseOpenCall call) => Take(group, site, new OpenLeases(call.Epoch));

    /// <summary>Revokes them; on disk when this returns.</summary>
    /// <exception cref="ProblemException">It cannot be kept on disk.</exception>
    public LeaseInfo Revoke(string group, string site, LeaseRevokeCall call) => Take(group, site, new RevokeLeases(call.Epoch));

    /// <summary>Grants a lease.</summary>
    /// <exception cref="ProblemException">Refused: none is granted under this epoch.</exception>
    public LeaseRenewReply Renew(string group, string site, LeaseRenewCall call)
        => new(Take(group, site, new RenewLease(call.Party, call.Epoch)).TtlMs);

    /// <summary>All metrics.</summary>
    public IReadOnlyList<MetricFamily> Metrics()
    {
        IReadOnlyList<LeaseInfo> all = Leases();
        return
        [
            new("sdnedge_witness_grants_total", "Leases granted.", MetricKind.Counter, [new MetricSample(Interlocked.Read(ref _granted))]),
            new("sdnedge_witness_refusals_total", "Leases refused.", MetricKind.Counter,
                [new MetricSample(Interlocked.Read(ref _refused))]),
            new("sdnedge_witness_epoch", "Highest epoch for which leases were opened or revoked.", MetricKind.Gauge, Each(l => l.Epoch)),
            new("sdnedge_witness_revoked", "1 while no lease is granted under it.", MetricKind.Gauge, Each(l => l.Revoked ? 1 : 0)),
            new("sdnedge_witness_runs_out_seconds", "How long until the last lease that was granted has surely run out.", MetricKind.Gauge,
                Each(l => l.RunsOutInMs / 1e3)),
        ];

        MetricSample[] Each(Func<LeaseInfo, double> value)
            => [.. all.Select(l => new MetricSample(value(l), ("group", l.Group), ("site", l.Site)))];
    }

    /// <summary>Stops it. What it has granted runs out.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_api is not null) await _api.DisposeAsync();
        _store.Dispose();
    }

    private LeaseInfo Take(string group, string site, WitnessInput input)
    {
        Entry entry = EntryOf(group, site, input is RenewLease);
        lock (entry)
        {
            WitnessLeases before = entry.Leases;
            long now = BootTime.Now;
            WitnessStep step = WitnessMachine.Step(before, input, _config.Rules, now);
            if (step.Refusal is { } refusal)
            {
                if (input is not RenewLease) throw new ProblemException(Problems.StaleEpoch(refusal));
                Interlocked.Increment(ref _refused);
                throw new ProblemException(new Problem(ApiProblems.LeaseRevoked, "No lease is granted", 409, refusal));
            }

            if (step.Write is { } record) Write(record);
            entry.Leases = step.Leases;
            if (input is RenewLease renewal)
            {
                Interlocked.Increment(ref _granted);
                if (!before.Parties.ContainsKey(renewal.Party))
                    Events.Add(Monotonic.Now, "lease", $"{group}@{site}", "party", $"{renewal.Party}, epoch {renewal.Epoch}");
            }
            else if (step.Write is { } changed)
            {
                Events.Add(Monotonic.Now, "lease", $"{group}@{site}", changed.Revoked ? "revoked" : "open", $"epoch {changed.Epoch}");
            }

            return WitnessMachine.Show(step.Leases, _config.Rules, BootTime.Now);
        }
    }

    private void Write(LeaseRecord record)
    {
        try
        {
            _store.Write(record);
        }
        catch (IOException e)
        {
            throw new ProblemException(new Problem("/problems/state-not-durable", "The witness cannot keep what it would promise", 503,
                e.Message + " (not done: the same call again tries again)"));
        }
    }

    // Who only asks for one makes nothing.
    private Entry EntryOf(string group, string site, bool asks)
    {
        if (_leases.TryGetValue((group, site), out Entry? entry)) return entry;
        entry = new Entry(WitnessMachine.Unknown(group, site, _startedAt));
        if (asks) return entry;
        return _leases.Count < MaxLeases ? _leases.GetOrAdd((group, site), entry)
            : throw new ProblemException(Problems.Unavailable($"there are {MaxLeases} leases already; remove files of groups that are "
                + "gone, with the witness stopped"));
    }

    private sealed class Entry(WitnessLeases leases)
    {
        private volatile WitnessLeases _leases = leases;

        public WitnessLeases Leases
        {
            get => _leases;
            set => _leases = value;
        }
    }
}
