using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using SdnEdge.Cli.Commands.Migrate;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Demo.Run;
using SdnEdge.Storage;
using SdnEdge.Storage.Config;
using Spectre.Console;

namespace SdnEdge.Cli.Commands;

/// <summary><c>sdnedge store</c>: the block store of a site, in the foreground, and what is done with its volumes.</summary>
internal static class StoreCommand
{
    private const int ExitOk = 0, ExitFailed = 1, ExitBadVolume = 3;

    public static Command Create()
    {
        var config = new Option<string>("--config", "-c") { Description = "Configuration file (YAML).", HelpName = "FILE" };
        var check = new Option<bool>("--check")
        {
            Description = "Read the file, report every error with its line, and end. Needs no rights.",
        };
        var command = new Command("store",
            """
            Runs the block store of a site in the foreground: volumes with a log in front of their images, served by NBD to QEMU, nbdcopy,
            fio and every other client. What was answered as durable survives a kill and a power cut.

              sdnedge store --config store-a.yaml --check            what is wrong in the file, all of it at once
              sdnedge store --config store-a.yaml                    run it; it says "ready" once its volumes are served
              sdnedge store create vs-disk 8GiB --api SOCKET         make a volume
              sdnedge store import vs-disk disk.img --api SOCKET     make one of an image that is there, and use it where it is
              sdnedge store list --api SOCKET                        its volumes
              sdnedge store resize vs-disk 16GiB --api SOCKET        make one larger, while it is served
              sdnedge store check vs-disk --api SOCKET               compare one with its own records, block by block
              sdnedge store mark vs-disk --name M --api SOCKET       keep what it is now; marks, unmark, clone go on from there
              sdnedge store show vs-disk --follow --api SOCKET       who owns it, how far its replica is, and the copy's progress
              sdnedge store mode vs-disk sync --api SOCKET           when its writes are answered
              sdnedge store promote vs-disk --api SOCKET             make the copy here the owner: the other site is lost
              sdnedge store branch list vs-disk --api SOCKET         what was put aside after a split
              sdnedge store serve disk.img --unix disk.sock          serve an image as it is, without a store
              kill -TERM PID                                         stop; what has come is answered, logs are made durable

            Exit code: 0 stopped, 1 could not run, 2 the file is wrong.
            """)
        {
            config, check, List(), StoreReplicaCommands.Show(), Make(), Import(), StoreResizeCommand.Create(), Delete(), Check(),
            StoreReplicaCommands.Mode(), StoreReplicaCommands.Promote(), StoreReplicaCommands.Resync(), StoreReplicaCommands.Branch(),
            StoreMarkCommands.Mark(), StoreMarkCommands.Marks(), StoreMarkCommands.Unmark(), StoreMarkCommands.Clone(),
            StoreServeCommand.Create(),
        };
        return new Daemon<StoreConfig>("store", Read, c => $" at {c.Site}: {c.Volumes.Count} volume{(c.Volumes.Count == 1 ? "" : "s")} by "
            + "name", c => c.Name, RunAsync).At(command, config, check);

        static DaemonFile<StoreConfig> Read(string text, string file)
        {
            StoreConfigResult read = StoreConfigLoader.Load(text, file);
            return new DaemonFile<StoreConfig>(read.Config, read.Errors);
        }
    }

    private static Command List()
    {
        Option<string> output = Output();
        var command = new Command("list", "The volumes of a store.") { output };
        StoreFlags.AddTo(command);
        command.SetAction((parse, cancel) => StoreFlags.AskAsync("sdnedge store list", parse, async store =>
        {
            IReadOnlyList<VolumeInfo> volumes = await store.VolumesAsync(cancel);
            if (parse.GetValue(output) == "json")
            {
                Console.WriteLine(JsonSerializer.Serialize(volumes, ApiJson.Indented.For<IReadOnlyList<VolumeInfo>>()));
                return ExitOk;
            }

            Table table = new Table().Border(TableBorder.Minimal).AddColumns("volume", "size", "identity");
            foreach (VolumeInfo v in volumes) table.AddRow(Markup.Escape(v.Name), Size(v.SizeBytes), v.Id.ToString());
            DemoView.NewConsole().Write(table);
            return ExitOk;
        }));
        return command;
    }

    private static Command Make()
    {
        Argument<string> name = Name();
        var size = new Argument<string>("size") { Description = "Its size, a multiple of 4096 bytes: 8GiB, 512MiB.", HelpName = "SIZE" };
        var command = new Command("create",
            """
            Makes a volume full of zeros. It takes no room before it is written to, but for its log.

            Exit code: 0 it is served, 1 it could not be made.
            """)
        {
            name, size,
        };
        StoreFlags.AddTo(command);
        command.SetAction((parse, cancel) => StoreFlags.AskAsync("sdnedge store create", parse, async store =>
        {
            string text = parse.GetValue(size)!;
            if (StoreConfigLoader.ReadSize(text) is not { } bytes)
                throw new ArgumentException($"'{text}' is not a size; write it as 8GiB or 512MiB");
            VolumeInfo made = await store.CreateAsync(new VolumeRequest(parse.GetValue(name)!, bytes), cancel);
            Console.WriteLine($"{made.Name} is served, {Size(made.SizeBytes)}");
            return ExitOk;
        }));
        return command;
    }

    private static Command Import()
    {
        Argument<string> name = Name();
        var image = new Argument<string>("image") { Description = "A raw image or a block device at the store's machine.",
            HelpName = "IMAGE" };
        var command = new Command("import",
            """
            Makes a volume of a raw image or a block device that is there. It stays where it is and belongs to the volume from then on: nothing
            else may write to it. All of it is read once.

            Exit code: 0 it is served, 1 it could not be made; the image is then as it was.
            """)
        {
            name, image,
        };
        StoreFlags.AddTo(command);
        command.SetAction((parse, cancel) => StoreFlags.AskAsync("sdnedge store import", parse, async store =>
        {
            store.RequestTimeout = Timeout.InfiniteTimeSpan;
            VolumeInfo made = await store.CreateAsync(
                new VolumeRequest(parse.GetValue(name)!, 0, Image: Path.GetFullPath(parse.GetValue(image)!)), cancel);
            Console.WriteLine($"{made.Name} is served, {Size(made.SizeBytes)}");
            return ExitOk;
        }));
        return command;
    }

    private static Command Delete()
    {
        Argument<string> name = Name();
        var yes = new Option<bool>("--yes") { Description = "Delete it without asking." };
        var command = new Command("delete",
            """
            Deletes a volume, its log and its image. An image that was imported stays. A volume that a client uses is not deleted.

            Exit code: 0 it is gone, 1 it is not.
            """)
        {
            name, yes,
        };
        StoreFlags.AddTo(command);
        command.SetAction((parse, cancel) => StoreFlags.AskAsync("sdnedge store delete", parse, async store =>
        {
            string volume = parse.GetValue(name)!;
            VolumeInfo info = await store.VolumeAsync(volume, cancel);
            if (!parse.GetValue(yes))
            {
                if (Console.IsInputRedirected)
                    throw new ArgumentException($"{volume} has {Size(info.SizeBytes)}; write --yes to delete it");
                Console.Write($"Delete {volume}, {Size(info.SizeBytes)}, for good? Write its name: ");
                if (Console.ReadLine()?.Trim() != volume)
                {
                    Console.Error.WriteLine("It was not deleted.");
                    return ExitFailed;
                }
            }

            await store.DeleteVolumeAsync(volume, cancel);
            Console.WriteLine($"{volume} is gone");
            return ExitOk;
        }));
        return command;
    }

    private static Command Check()
    {
        Argument<string> name = Name();
        Option<string> output = Output();
        var command = new Command("check",
            """
            Compares a volume with its own records: every block of its image with the hash that was kept when it was written, and every record
            of its log with its checksum and its place in the chain. It is served meanwhile.

            Exit code: 0 all is as it was written, 1 it could not be checked, 3 it is not as it was written.
            """)
        {
            name, output,
        };
        StoreFlags.AddTo(command);
        command.SetAction((parse, cancel) => StoreFlags.AskAsync("sdnedge store check", parse, async store =>
        {
            store.RequestTimeout = Timeout.InfiniteTimeSpan;
            VolumeCheckInfo found = await store.CheckAsync(parse.GetValue(name)!, cancel);
            if (parse.GetValue(output) == "json")
            {
                Console.WriteLine(JsonSerializer.Serialize(found, ApiJson.Indented.For<VolumeCheckInfo>()));
                return found.Good ? ExitOk : ExitBadVolume;
            }

            Console.WriteLine($"{found.Volume}: {(found.Good ? "good" : "NOT as it was written")}; {found.BlocksRead} blocks and "
                + $"{found.RecordsRead} records read, at sequence {found.Point.Sequence}, content root {found.ContentRoot}");
            if (found.DiskError is { } error) Console.WriteLine($"  its disk could not be read to the end: {error}");
            if (found.LogDamage is { } damage) Console.WriteLine($"  its log: {damage}");
            if (found.BadBlockCount > 0)
            {
                string blocks = string.Join(", ", found.BadBlocks.Take(20).Select(b => string.Create(CultureInfo.InvariantCulture,
                    $"{b}")));
                Console.WriteLine($"  {found.BadBlockCount} blocks of 4096 bytes: {blocks}{(found.BadBlockCount > 20 ? ", ..." : "")}");
            }

            return found.Good ? ExitOk : ExitBadVolume;
        }));
        return command;
    }

    internal static Argument<string> Name() => new("volume") { Description = "The volume.", HelpName = "VOLUME" };

    internal static Option<string> Output()
    {
        var output = new Option<string>("--output", "-o") { Description = "table or json.", DefaultValueFactory = _ => "table" };
        output.AcceptOnlyFromAmong("table", "json");
        return output;
    }

    internal static string Size(long bytes)
    {
        (string Unit, int Shift) = bytes switch
        {
            >= 1L << 40 => ("TiB", 40),
            >= 1 << 30 => ("GiB", 30),
            >= 1 << 20 => ("MiB", 20),
            _ => ("KiB", 10),
        };
        return string.Create(CultureInfo.InvariantCulture, $"{bytes / (double)(1L << Shift):0.##} {Unit}");
    }

    private static async Task RunAsync(StoreConfig config, CancellationToken stop)
    {
        await using StoreAgent store = await StoreAgent.StartAsync(config);
        StoreNodeInfo node = store.Node();
        Console.WriteLine($"{config.Name}: ready, pid {Environment.ProcessId}, {store.Volumes().Count} volumes at "
            + string.Join(" and ", node.Exports));
        if (node.Fault is { } fault) Console.Error.WriteLine($"{config.Name}: {fault}");
        await Task.Delay(Timeout.Infinite, stop);
    }
}

/// <summary>Options that say which store is meant.</summary>
internal static class StoreFlags
{
    private static readonly Option<string> Api = new("--api")
    {
        Description = "The store's API: its unix socket, or https://HOST:PORT/ with --cert, --key and --ca.",
        HelpName = "SOCKET|URL",
        Required = true,
    };

    /// <summary>Adds them to a command.</summary>
    public static void AddTo(Command command)
    {
        command.Options.Add(Api);
        IdentityFlags.AddTo(command);
    }

    /// <summary>Asks the store; says what went wrong. Returns the exit code: 1 when it did.</summary>
    public static async Task<int> AskAsync(string command, ParseResult parse, Func<StoreClient, Task<int>> ask)
    {
        try
        {
            string api = parse.GetValue(Api)!;
            using var store = new StoreClient(ApiClient.EndpointFor(api, IdentityFlags.For(parse, api, "the store")));
            return await ask(store);
        }
        catch (OperationCanceledException)
        {
            Console.Error.WriteLine($"{command}: stopped before the answer. What the store has begun it does to its end; "
                + "'sdnedge store list' shows it.");
            return 1;
        }
        catch (Exception e) when (e is ApiProblemException or ApiUnreachableException or ArgumentException or IOException)
        {
            Console.Error.WriteLine($"{command}: {e.Message}");
            return 1;
        }
    }
}
