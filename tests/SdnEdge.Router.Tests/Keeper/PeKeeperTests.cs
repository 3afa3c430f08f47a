using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Mirror;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;
using SdnEdge.Router.Keeper;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Router.Tests.Keeper;

/// <summary>
/// The keeper, step by step: the test speaks for the PE, beside a process that only sleeps and can be killed. Whether the
/// keeper forwards is seen from the kernel behind a TAP: somebody answers pings to the router's address, or nobody does.
/// </summary>
public sealed class PeKeeperTests
{
    [RootFact]
    public async Task A_pe_killed_during_the_hand_over_has_its_keeper_forward_again()
    {
        using var space = new Space();
        using var children = new Children();
        using var keeper = new PeKeeper("pe-t", children.Describe);
        Task<int> run = keeper.RunAsync(CancellationToken.None);

        // A PE that has told everything, and forwards.
        ProcessChannel pe = children.Next();
        Assert.Equal(KeeperMessageKind.Start, Receive(pe).Kind);
        using (TapPort tap = Namespaces.Run(space.Name, () => TapPort.Open("a", "tap-a", new TapOptions { DisableKernelIpv6 = true })))
        {
            space.Ip("address", "add", "10.1.0.10/24", "dev", "tap-a");
            pe.Send(KeeperMessage.Device(tap), tap.Fd);
            var writer = new MirrorWriter(frame => pe.Send(KeeperMessage.Mirror(frame)));
            Tell(writer);
            pe.Send(KeeperMessage.Plain(KeeperMessageKind.Ready));
            Assert.Equal(KeeperMessageKind.Granted, Receive(pe).Kind);
        }

        Assert.False(space.Answers("10.1.0.1", 1), "nobody forwards, and yet somebody answers");

        // It is killed: the device stays, and the keeper answers.
        children.Kill(pe);
        ProcessChannel second = children.Next();
        Assert.True(space.Answers("10.1.0.1", Patience.Seconds), "the keeper does not forward");

        // The second one gets device and standby, is granted, and is killed before it has begun.
        (KeeperMessageKind kind, KeeperRecord record) = Receive(second);
        Assert.Equal(KeeperMessageKind.Device, kind);
        (kind, record) = Receive(second);
        Assert.Equal((KeeperMessageKind.Start, true, 1L, 2L), (kind, record.Standby, record.Takeovers, record.Prefixes));
        second.Send(KeeperMessage.Plain(KeeperMessageKind.Ready));
        do (kind, record) = Receive(second);
        while (kind == KeeperMessageKind.Mirror);
        Assert.Equal((KeeperMessageKind.Granted, false), (kind, record.Standby));
        Assert.True(record.Packets > 0, "what the keeper sent is not counted");
        Assert.False(space.Answers("10.1.0.1", 1), "the keeper goes on after it has handed over");
        children.Kill(second);
        ProcessChannel third = children.Next();
        Assert.True(space.Answers("10.1.0.1", Patience.Seconds), "the keeper does not forward the second time");

        // The third one is told to stop, says so, and all ends: process, keeper, device.
        third.Send(KeeperMessage.Plain(KeeperMessageKind.Bye));
        children.Kill(third);
        await run.WaitAsync(Patience.Time);

        // The kernel may take a moment to see that nobody has the device open.
        Assert.True(SpinWait.SpinUntil(() => !space.Ip("-br", "link").Contains("tap-a", StringComparison.Ordinal), Patience.Time),
            "the device is still there");
    }

    private static void Tell(MirrorWriter writer)
    {
        writer.Begin();
        writer.Loopbacks([IpAddress.Parse("10.255.0.1")]);
        writer.Vrf(0, "default", null);
        writer.Port(new MirrorPort(0, "a", 0, new MacAddress(0x02_0000_0000_01), 1500, false, true,
            [new PortAddress(IpAddress.Parse("10.1.0.1"), 24)]));
        writer.Hop(1, new MirrorHop(ForwardingKind.Local));
        writer.Leaf(0, 1, 1, 0, null);
        writer.Hop(2, new MirrorHop(ForwardingKind.Connected, Port: 0));
        writer.Leaf(0, 2, 2, 0, null);
        writer.Prefix(0, IpPrefix.Parse("10.1.0.1/32"), 1);
        writer.Prefix(0, IpPrefix.Parse("10.1.0.0/24"), 2);
        writer.End();
        writer.Flush();
    }

    private static (KeeperMessageKind Kind, KeeperRecord Record) Receive(ProcessChannel pe)
    {
        byte[] message = new byte[ProcessChannel.MaxMessage];
        int length = pe.Receive(message, out int descriptor);
        ProcessChannel.CloseDescriptor(descriptor);
        Assert.True(length > 0, "the keeper has closed the channel");
        var kind = (KeeperMessageKind)message[0];
        return (kind, kind is KeeperMessageKind.Start
            or KeeperMessageKind.Granted ? KeeperMessage.ReadRecord(message.AsSpan(0, length)) : default);
    }

    /// <summary>Processes that sleep, each with a channel that the test speaks on.</summary>
    private sealed class Children : IDisposable
    {
        private readonly BlockingCollection<ProcessChannel> _channels = [];
        private readonly ConcurrentDictionary<ProcessChannel, string> _files = new();

        public ProcessStartInfo Describe(int descriptor)
        {
            // The child closes its copy, so that the test's end is the only one; its number tells which process to kill.
            string file = Path.GetTempFileName();
            ProcessChannel channel = ProcessChannel.Inherited(ProcessChannel.Duplicate(descriptor));
            _files[channel] = file;
            _channels.Add(channel);
            return new ProcessStartInfo("bash", ["-c", $"exec {descriptor}>&-; echo $$ > {file}; exec sleep 600"])
            {
                UseShellExecute = false,
            };
        }

        public ProcessChannel Next() => _channels.TryTake(out ProcessChannel? channel, Patience.Time) ? channel
            : throw new TimeoutException("the keeper started no process");

        public void Kill(ProcessChannel channel)
        {
            // While the channel is open the keeper lets the process live, and so it comes to say its number.
            int pid = 0;
            Assert.True(SpinWait.SpinUntil(() => int.TryParse(File.ReadAllText(_files[channel]),
                NumberStyles.None | NumberStyles.AllowTrailingWhite, CultureInfo.InvariantCulture, out pid), Patience.Time),
                "the process does not say its number");
            Signals.Send(pid, ProcessSignal.Kill);
            channel.Dispose();
        }

        public void Dispose()
        {
            foreach ((ProcessChannel channel, string file) in _files)
            {
                channel.Dispose();
                File.Delete(file);
            }

            _channels.Dispose();
        }
    }

    private sealed class Space : IDisposable
    {
        public Space() => Done("ip", "netns", "add", Name);

        public string Name { get; } = string.Create(CultureInfo.InvariantCulture, $"keeper{Environment.ProcessId}");

        public string Ip(params string[] words) => Done("ip", ["-n", Name, .. words]);

        /// <summary>Whether one of so many pings, one a second, is answered.</summary>
        public bool Answers(string address, int pings)
        {
            for (; pings > 0; pings--)
            {
                if (Run("ip", "netns", "exec", Name, "ping", "-c", "1", "-W", "1", address).Code == 0) return true;
            }

            return false;
        }

        public void Dispose() => Run("ip", "netns", "del", Name);

        private static string Done(string program, params string[] words)
        {
            (int code, string output) = Run(program, words);
            Assert.True(code == 0, $"{program} {string.Join(' ', words)}: {output}");
            return output;
        }

        private static (int Code, string Output) Run(string program, params string[] words)
        {
            using Process process =
                Process.Start(new ProcessStartInfo(program, words) { UseShellExecute = false, RedirectStandardOutput = true,
                    RedirectStandardError = true })!;
            Task<string> errors = process.StandardError.ReadToEndAsync();
            string output = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            return (process.ExitCode, output + errors.Result);
        }
    }
}
