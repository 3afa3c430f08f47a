using SdnEdge.Demo.Report;
using SdnEdge.Lab.Probes;

namespace SdnEdge.Lab.Tests.Report;

/// <summary>
/// A switchover computed instead of measured: three ingresses with constant delays, a hold, then the direct path. With
/// seeded loss, duplication and reordering where a test wants them.
/// </summary>
internal sealed class SyntheticRun
{
    public const long Ms = 1_000_000;
    public const long Origin = 1_000 * Ms;
    public const long Switch = Origin + (2_000 * Ms);
    public const long Pause = Switch + (60 * Ms);
    public const long Resume = Pause + (300 * Ms);
    public const long Release = Resume + (2 * Ms);
    public const long Advertise = Release + (60 * Ms);
    public const long Withdraw = Advertise + (120 * Ms);
    public const long End = Origin + (5_000 * Ms);

    public bool Hold { get; init; } = true;
    public int StepNs { get; init; } = (int)Ms;

    /// <summary>Sequence of the forward streams to the packet's fate.</summary>
    public Func<uint, Fate> FateOf { get; init; } = static _ => Fate.Arrives;

    public enum Fate
    {
        Arrives,
        Lost,
        Twice,
    }

    public RunFacts Facts() => new()
    {
        Parameters = new ParametersReport("figure1", "vs", "dc-a", "dc-b", 40, 300, null, Hold),
        ForwardPacketsPerSecond = 3000,
        ReversePacketsPerSecond = 3000,
        Forward = [.. "cde".Select((c, i) => Stream(c, (byte)(i + 1), forward: true, (20 + (2 * i)) * Ms))],
        Reverse = [.. "cde".Select((c, i) => Stream(c, (byte)(i + 11), forward: false, (20 + (2 * i)) * Ms))],
        Tcp = new TcpResult("tcp", 100_000, 100_000, 0, 0, 1, 420, 0, 2, null),
        Move = new MoveFacts
        {
            Stages =
            [
                new StageMark("prepare-source", Switch - (90 * Ms), Switch), new StageMark("switch", Switch, Switch + Ms),
                new StageMark("stop", Switch + Ms, Pause), new StageMark("activate", Pause, Resume),
                new StageMark("release", Resume, Advertise), new StageMark("advertise", Advertise, Advertise + (4 * Ms)),
                new StageMark("direct-path", Advertise + (4 * Ms), Withdraw), new StageMark("withdraw", Withdraw, Withdraw + (5 * Ms)),
                new StageMark("drain", Withdraw + (5 * Ms), Withdraw + (300 * Ms)),
                new StageMark("teardown-source", Withdraw + (300 * Ms), Withdraw + (306 * Ms)),
            ],
            Succeeded = true,
            Prefixes = 2,
            StoreNs = 130,
            SwitchSignalNs = Switch - (Ms / 2),
            SwitchEffectNs = Switch,
            SwitchAcknowledgedNs = Switch + Ms,
            FirstTunnelPacketNs = Switch + (Ms / 10),
            PausedNs = Pause,
            ResumedNs = Resume,
            ReleaseEffectNs = Release,
            AdvertisedNs = Advertise,
            WithdrawNs = Withdraw,
            PacketsHeld = Hold ? 903 : 0,
            HoldPeakBytes = 180_000,
            HoldPeakPackets = 903,
            HoldReleased = 903,
            TunnelName = "mig-1",
            TunnelPackets = 1800,
            TunnelTornDown = true,
        },
        Residue = [],
        Invalid = [],
    };

    /// <summary>Arrival of a forward packet that gets through.</summary>
    public static long? Arrive(long send, long oneWay, bool hold)
    {
        if (send + oneWay - (20 * Ms) < Switch)
        {
            return send + oneWay;
        }

        if (send >= Advertise + (50 * Ms))
        {
            return send + oneWay;
        }

        long atB = send + (2 * oneWay);
        long afterHeld = Release + ((atB - Switch) / 1000); // what is held goes first
        return hold ? Math.Max(atB, afterHeld) : atB >= Release ? atB : null;
    }

    private StreamFacts Stream(char client, byte stream, bool forward, long oneWay)
    {
        var sent = new List<ProbeRecord>();
        var received = new List<ProbeRecord>();
        for (long t = Origin; t < End; t += StepNs)
        {
            if (!forward && t >= Pause && t < Resume)
            {
                continue; // the server stands still
            }

            uint sequence = (uint)sent.Count;
            ushort flow = (ushort)(sequence % 16);
            sent.Add(new ProbeRecord(t, 0, sequence, flow, stream, 0));
            Fate fate = forward ? FateOf(sequence) : Fate.Arrives;
            if (fate == Fate.Lost || (forward ? Arrive(t, oneWay, Hold) : t + oneWay) is not { } arrival)
            {
                continue;
            }

            received.Add(new ProbeRecord(t, arrival, sequence, flow, stream, 0));
            if (fate == Fate.Twice)
            {
                received.Add(new ProbeRecord(t, arrival + 1, sequence, flow, stream, 0));
            }
        }

        received.Sort((a, b) => a.ArrivalNs.CompareTo(b.ArrivalNs));
        return new StreamFacts(
            $"pe-{client}", $"client-{client}", stream, new SentStream(stream, sent.Count, 0, 0, 16, 128), null, [.. sent], [.. received])
        {
            FibFirstAtNs = forward ? Advertise + (30 * Ms) : null,
            FibLastAtNs = forward ? Advertise + (35 * Ms) : null,
        };
    }
}
