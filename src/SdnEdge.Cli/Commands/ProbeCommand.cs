using System.CommandLine;
using System.Globalization;
using System.Net;
using System.Text.Json;
using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;
using SdnEdge.Lab.Probes;
using SdnEdge.Lab.Running;
using SdnEdge.Linux;
using Spectre.Console;

namespace SdnEdge.Cli.Commands;

/// <summary>
/// <c>sdnedge probe send|receive|tcp</c>: one probe in the namespace it is started in. Speaks lines of JSON on stdout (ready
/// first, the result last) and listens on stdin for <c>stop</c>, to a receiver with what was sent: <c>stop 1=6000 2=6000</c>. A signal
/// stops it, too, and it says what it has measured until then.
/// </summary>
internal static class ProbeCommand
{
    private const long Ms = 1_000_000;

    private static readonly Option<uint> RunId = new("--run")
    {
        Description = "Run identifier, the same for sender and receiver: packets of other runs are not counted.",
        DefaultValueFactory = _ => 1,
    };

    private static readonly Option<double> Duration = new("--duration")
    {
        Description = "Seconds; 0 = until a line 'stop' comes on stdin (or stdin ends).",
        DefaultValueFactory = _ => 0,
    };

    private static readonly Option<ushort> Port = new("--port") { Description = "UDP port.", DefaultValueFactory = _ => 7001 };

    private static readonly Option<FileInfo?> Log = new("--log")
    {
        Description = "File for the log of every packet (binary, 24 bytes a packet).",
    };

    private static readonly Option<int> Capacity = new("--capacity")
    {
        Description = "Most packets of a stream that can be counted; memory is used only as they come.",
        DefaultValueFactory = _ => 4_000_000,
    };

    private static readonly Option<string> Output = new("--output", "-o")
    {
        Description = "json or table.",
        DefaultValueFactory = _ => "json",
    };

    public static Command Create()
    {
        Output.AcceptOnlyFromAmong("json", "table");
        Duration.Validators.Add(result =>
        {
            if (result.Tokens is [{ Value: ['-', ..] } token]) result.AddError($"--duration {token.Value}: seconds from 0 on.");
        });
        return new Command("probe", "Measures a path: numbered, timestamped packets over many flows, or a checked TCP transfer.")
        {
            CreateSend(), CreateReceive(), CreateTcp(),
        };
    }

    private static Command CreateSend()
    {
        var targets = new Option<string[]>("--target")
        {
            Description = "STREAM=ADDRESS[,ADDRESS]: a stream and where it goes; with an IPv4 and an IPv6 address the flows are shared "
                + "out.",
            Required = true,
            AllowMultipleArgumentsPerToken = true,
        };
        var rate = new Option<long>("--rate")
        {
            Description = "Packets per second, all streams together.",
            DefaultValueFactory = _ => 1000,
        };
        var flows = new Option<int>("--flows") { Description = "Flows of a stream, one source port each.", DefaultValueFactory = _ => 16 };
        var flows6 = new Option<int>("--flows6")
        {
            Description = "How many of the flows are IPv6 where a target has both.",
            DefaultValueFactory = _ => 4,
        };
        var size = new Option<int>("--size")
        {
            Description = $"Bytes of UDP payload, {ProbePayload.MinSize} to {ProbePayload.MaxSize}.",
            DefaultValueFactory = _ => 128,
        };
        var catchUp = new Option<int>("--max-catch-up")
        {
            Description = "Milliseconds: a longer standstill of this process is not made up for (a frozen server's clock).",
            DefaultValueFactory = _ => 200,
        };
        var command = new Command("send", "Sends numbered UDP packets at an exact rate until stopped.")
        {
            targets, rate, flows, flows6, size, catchUp, Port, RunId, Duration, Capacity, Log, Output,
        };
        command.SetAction((parse, cancel) => Blocking(() =>
        {
            var streams = new List<SendStream>();
            int payload = parse.GetValue(size);
            try
            {
                foreach (string target in parse.GetValue(targets)!)
                {
                    streams.Add(ParseTarget(target, parse.GetValue(Port), parse.GetValue(flows), parse.GetValue(flows6), payload));
                }

                return Send(
                    new ProbeSender(parse.GetValue(RunId), parse.GetValue(rate), payload, streams, () => Monotonic.Now,
                        NewLog(parse, streams.Count)),
                    parse, parse.GetValue(catchUp) * Ms, cancel);
            }
            catch (Exception e) when (e is FormatException or ArgumentOutOfRangeException or LinuxException)
            {
                return Fail("probe send", e);
            }
            finally
            {
                foreach (IProbeTransmitter flow in streams.SelectMany(s => s.Flows))
                {
                    flow.Dispose();
                }
            }
        }));
        return command;
    }

    private static int Send(ProbeSender sender, ParseResult parse, long maxCatchUpNs, CancellationToken cancel)
    {
        double seconds = parse.GetValue(Duration);
        Ready(parse);
        Listen(seconds, _ => sender.Stop());
        using CancellationTokenRegistration stop = cancel.Register(sender.Stop);
        SendResult result = sender.Run((long)(seconds * 1e9), maxCatchUpNs);
        SaveLog(parse, sender.Log);
        Print(parse, result, () =>
        {
            var table = new Table().AddColumns("stream", "sent", "refused", "flows", "payload bytes", "seconds");
            foreach (SentStream s in result.Streams)
            {
                table.AddRow($"{s.Stream}", $"{s.Sent}", $"{s.Errors}", $"{s.Flows}", $"{s.SizeBytes}",
                    $"{(result.EndedAtNs - result.StartedAtNs) / 1e9:F3}");
            }

            AnsiConsole.Write(table);
        });
        return 0;
    }

    private static SendStream ParseTarget(string text, ushort port, int flows, int flows6, int payload)
    {
        string[] parts = text.Split('=', 2);
        if (parts.Length != 2 || !byte.TryParse(parts[0], CultureInfo.InvariantCulture, out byte stream))
        {
            throw new FormatException(
                $"--target {text}: expected STREAM=ADDRESS[,ADDRESS] with STREAM 0 to 255, e.g. 1=10.1.1.10,fd00:1:1::10");
        }

        var addresses = new List<IpAddress>();
        foreach (string address in parts[1].Split(','))
        {
            addresses.Add(IpAddress.TryParse(address, out IpAddress parsed)
                ? parsed
                : throw new FormatException($"--target {text}: '{address}' is no IP address"));
        }

        if (flows is < 1 or > 1024 || flows6 < 0 || flows6 > flows)
        {
            throw new FormatException($"--flows {flows} --flows6 {flows6}: expected 1 to 1024 flows, of which 0 to all are IPv6");
        }

        IpAddress first = addresses[0];
        IpAddress v4 = addresses.Find(a => a.IsV4) is { IsV4: true } found ? found : first;
        IpAddress v6 = addresses.Exists(a => a.IsV6) ? addresses.Find(a => a.IsV6) : first;
        var sockets = new List<IProbeTransmitter>();
        for (int i = 0; i < flows; i++)
        {
            // The IPv6 flows are spread over the others, so that at any time both kinds are under way.
            bool useV6 = flows6 > 0 && ((i + 1) * flows6 / flows) > (i * flows6 / flows);
            sockets.Add(new UdpProbeTransmitter(new UdpEndpoint(useV6 ? v6 : v4, port), payload));
        }

        return new SendStream(stream, sockets);
    }

    private static Command CreateReceive()
    {
        var streams = new Option<int[]>("--stream")
        {
            Description = "Streams to count (0 to 255).",
            DefaultValueFactory = _ => [1],
            AllowMultipleArgumentsPerToken = true,
        };
        var quiet = new Option<int>("--quiet")
        {
            Description = "Milliseconds without a packet after which the path is taken to be empty.",
            DefaultValueFactory = _ => 1000,
        };
        var bound = new Option<int>("--bound")
        {
            Description = "Most milliseconds to wait for stragglers.",
            DefaultValueFactory = _ => 8000,
        };
        var bin = new Option<int>("--bin")
        {
            Description = "Width of the delay series' bins in milliseconds; 0 = no series.",
            DefaultValueFactory = _ => 5,
        };
        var command = new Command("receive", "Counts what arrives: received, duplicated, reordered, longest gap, delays.")
        {
            streams, quiet, bound, bin, Port, RunId, Duration, Capacity, Log, Output,
        };
        command.SetAction((parse, cancel) => Blocking(() =>
        {
            try
            {
                using var listener = new UdpProbeListener(parse.GetValue(Port));
                int[] wanted = parse.GetValue(streams)!;
                long origin = Monotonic.Now;
                StreamTally[] tallies = [.. wanted.Select(s => new StreamTally(
                    checked((byte)s), parse.GetValue(Capacity), 1024,
                    parse.GetValue(bin) == 0 ? null : new DelaySeries(origin, parse.GetValue(bin) * Ms, 180_000 / parse.GetValue(bin))))];
                RecordLog? log = NewLog(parse, wanted.Length);
                var receiver = new ProbeReceiver(parse.GetValue(RunId), listener, tallies, () => Monotonic.Now, log);
                double seconds = parse.GetValue(Duration);
                Ready(parse);
                Listen(seconds, counts =>
                {
                    foreach ((byte stream, long sent) in counts)
                    {
                        receiver.Announce(stream, sent);
                    }

                    receiver.Stop();
                });
                using CancellationTokenRegistration stop = cancel.Register(receiver.Stop);
                ReceiveResult result = receiver.Run((long)(seconds * 1e9), parse.GetValue(quiet) * Ms, parse.GetValue(bound) * Ms);
                SaveLog(parse, log);
                Print(parse, result, () => PrintReceived(result));
                return result.Valid ? 0 : 3;
            }
            catch (Exception e) when (e is OverflowException or ArgumentOutOfRangeException or LinuxException)
            {
                return Fail("probe receive", e);
            }
        }));
        return command;
    }

    private static void PrintReceived(ReceiveResult result)
    {
        var table = new Table()
            .AddColumns("stream", "received", "duplicated", "reordered", "flows", "longest gap ms", "delay min ms", "mean ms", "max ms");
        foreach (ReceivedStream s in result.Streams)
        {
            table.AddRow(
                $"{s.Stream}", $"{s.Received}", $"{s.Duplicated}", $"{s.Reordered}", $"{s.Flows}", $"{s.MaxGapNs / 1e6:F3}",
                $"{s.MinDelayNs / 1e6:F3}", $"{s.MeanDelayNs / 1e6:F3}", $"{s.MaxDelayNs / 1e6:F3}");
        }

        AnsiConsole.Write(table);
        if (!result.Valid)
        {
            AnsiConsole.MarkupLineInterpolated($"[red]not valid:[/] {result.WhyInvalid}");
        }
    }

    private static Command CreateTcp()
    {
        var target = new Option<string>("--target") { Description = "ADDRESS:PORT of a TCP echo server.", Required = true };
        var rate = new Option<int>("--rate") { Description = "Bytes per second.", DefaultValueFactory = _ => 250_000 };
        var command = new Command("tcp", "Transfers to an echo server and checks every byte that comes back.")
        {
            target, rate, Duration, Output,
        };
        command.SetAction(async (parse, cancel) =>
        {
            if (!IPEndPoint.TryParse(parse.GetValue(target)!, out IPEndPoint? endpoint) || endpoint.Port == 0)
            {
                return Fail("probe tcp",
                    new FormatException($"--target {parse.GetValue(target)}: expected ADDRESS:PORT, e.g. 10.1.1.10:7 or [fd00:1:1::10]:7"));
            }

            try
            {
                using var probe = new TcpProbe(endpoint, parse.GetValue(rate));
                double seconds = parse.GetValue(Duration);
                Listen(seconds, _ => probe.Stop());
                using CancellationTokenRegistration stop = cancel.Register(probe.Stop);
                TcpResult result = await probe.RunAsync(seconds > 0 ? TimeSpan.FromSeconds(seconds) : null, () => Ready(parse));
                Print(parse, result, () => AnsiConsole.Write(new Table()
                    .AddColumns("sent", "back and right", "wrong", "resets", "longest stall ms", "retransmits")
                    .AddRow($"{result.BytesSent}", $"{result.Bytes}", $"{result.WrongBytes}", $"{result.Resets}", $"{result.MaxStallMs:F3}",
                        $"{result.Retransmits}")));
                return result is { Resets: 0, WrongBytes: 0 } ? 0 : 3;
            }
            catch (ArgumentOutOfRangeException e)
            {
                return Fail("probe tcp", e);
            }
        });
        return command;
    }

    // A probe keeps its thread busy to the end. It is this one: nobody else has anything to do.
    private static Task<int> Blocking(Func<int> probe) => Task.FromResult(probe());

    private static RecordLog? NewLog(ParseResult parse, int streams) =>
        parse.GetValue(Log) is null ? null : new RecordLog((long)parse.GetValue(Capacity) * streams);

    private static void SaveLog(ParseResult parse, RecordLog? log)
    {
        if (parse.GetValue(Log) is { } file && log is not null)
        {
            log.Save(file.FullName);
            log.Dispose();
        }
    }

    private static void Ready(ParseResult parse) =>
        Print(parse, new ProbeReady("ready", Monotonic.Now, Environment.ProcessId), static () => { });

    private static void Print<T>(ParseResult parse, T result, Action table)
    {
        if (parse.GetValue(Output) == "table")
        {
            table();
            return;
        }

        Console.Out.WriteLine(JsonSerializer.Serialize(result, LabJson.Options.For<T>()));
        Console.Out.Flush();
    }

    /// <summary>
    /// Waits on a thread of its own for <c>stop [STREAM=COUNT ...]</c>, or for the end of stdin where no duration was given.
    /// </summary>
    private static void Listen(double seconds, Action<IReadOnlyList<(byte Stream, long Sent)>> stop)
    {
        new Thread(() =>
        {
            while (Console.In.ReadLine() is { } line)
            {
                string[] words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
                if (words is ["stop", ..])
                {
                    var counts = new List<(byte, long)>();
                    foreach (string word in words.Skip(1))
                    {
                        string[] pair = word.Split('=');
                        if (pair.Length == 2 && byte.TryParse(pair[0], CultureInfo.InvariantCulture, out byte stream)
                            && long.TryParse(pair[1], CultureInfo.InvariantCulture, out long sent))
                        {
                            counts.Add((stream, sent));
                        }
                        else
                        {
                            Console.Error.WriteLine($"probe: '{word}' is left out; expected STREAM=COUNT, e.g. 1=6000");
                        }
                    }

                    stop(counts);
                    return;
                }

                Console.Error.WriteLine($"probe: '{line}' is no command here; the only one is 'stop [STREAM=COUNT ...]'");
            }

            if (seconds == 0)
            {
                stop([]);
            }
        })
        { IsBackground = true, Name = "stdin" }.Start();
    }

    private static int Fail(string what, Exception e)
    {
        Console.Error.WriteLine($"sdnedge {what}: {e.Message}");
        return 2;
    }
}
