using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Replication;
using SdnEdge.Demo.Run;
using SdnEdge.Linux;
using SdnEdge.Storage.Service;
using Spectre.Console;
using ClientIdentity = SdnEdge.Core.Replication.ClientIdentity;

namespace SdnEdge.Cli.Commands;

/// <summary>The commands of <c>sdnedge store</c> about a volume's replica: how far it is, when writes are answered, and what a person
/// decides where a site is lost.</summary>
internal static class StoreReplicaCommands
{
    private const int ExitOk = 0, ExitFailed = 1;

    private static readonly TimeSpan s_look = TimeSpan.FromMilliseconds(250);

    public static Command Show()
    {
        var name = new Argument<string?>("volume") { Description = "The volume; without it: the store.", HelpName = "VOLUME",
            Arity = ArgumentArity.ZeroOrOne };
        var follow = new Option<bool>("--follow") { Description = "Wait, with the progress, until the replica is whole." };
        Option<string> output = StoreCommand.Output();
        var command = new Command("show",
            """
            A store, as JSON: where its volumes are found, and what is wrong. Or one volume: who owns it, how far its replica is, what was
            put aside.

            Exit code: 0 it was shown (and the replica is whole, with --follow), 1 it was not.
            """)
        {
            name, follow, output,
        };
        StoreFlags.AddTo(command);
        command.SetAction((parse, cancel) => StoreFlags.AskAsync("sdnedge store show", parse, async store =>
        {
            if (parse.GetValue(name) is not { } volume)
            {
                Console.WriteLine(JsonSerializer.Serialize(await store.NodeAsync(cancel), ApiJson.Indented.For<StoreNodeInfo>()));
                return ExitOk;
            }

            if (parse.GetValue(follow)) await FollowAsync(store, volume, cancel);
            Print(await store.VolumeAsync(volume, cancel), parse.GetValue(output)!);
            return ExitOk;
        }));
        return command;
    }

    public static Command Mode()
    {
        Argument<string> name = StoreCommand.Name();
        var mode = new Argument<string>("mode") { Description = "async, semantic, sync, or configured: that of the configuration.",
            HelpName = "MODE" };
        mode.AcceptOnlyFromAmong("async", "semantic", "sync", "configured");
        var limit = new Option<int>("--timeout") { Description = "Longest wait, seconds.", HelpName = "SECONDS",
            DefaultValueFactory = _ => 3600 };
        var command = new Command("mode",
            """
            Switches when the writes of a volume are answered, at its owner, while the guest writes: async at once, semantic what the guest
            asks to be durable when the replica has it, sync every write when the replica has it. Returns when the mode is in force; a
            stronger one is when the replica has proved that it is equal. It holds until the volume moves: then the configuration's does.

            Exit code: 0 it is in force, 1 it is not (it goes on trying).
            """)
        {
            name, mode, limit,
        };
        StoreFlags.AddTo(command);
        command.SetAction((parse, cancel) => StoreFlags.AskAsync("sdnedge store mode", parse, async store =>
        {
            string volume = parse.GetValue(name)!;
            int seconds = parse.GetValue(limit);
            if (seconds is < 1 or > 3600) throw new ArgumentException($"--timeout {seconds} is not a wait; write 1 to 3600 seconds");
            ReplicationMode? wanted = parse.GetValue(mode) switch
            {
                "async" => ReplicationMode.Async, "semantic" => ReplicationMode.Semantic, "sync" => ReplicationMode.Sync, _ => null,
            };
            VolumeInfo before = await store.VolumeAsync(volume, cancel);
            store.RequestTimeout = Timeout.InfiniteTimeSpan;
            Task<VolumeInfo> asked = store.ModeAsync(volume, new VolumeModeRequest(before.Epoch, wanted, seconds * 1000), cancel);
            await WatchAsync(store, volume, asked, cancel);
            VolumeInfo now = await asked;
            Console.WriteLine($"{volume}: {Word(now.Replication!.InForce)} is in force");
            return ExitOk;
        }));
        return command;
    }

    public static Command Promote()
    {
        Argument<string> name = StoreCommand.Name();
        Option<string?> force = Force("although something is lost by it");
        var client = new Option<int?>("--client") { Description = "Process id of the QEMU, or other client, that may write from then on.",
            HelpName = "PID" };
        var epoch = new Option<ulong>("--epoch")
        {
            Description = "Epoch to own it under, where a manager has a higher one. Default: the next.", HelpName = "N",
        };
        var command = new Command("promote",
            """
            Makes the copy at this store the owner of the volume, because the site of the owner is lost. Without a manager nobody fences the
            old owner: be sure that no server runs there. It is refused, and says what would be lost, when the owner is connected, when the
            copy is no state that the owner once had, and when it is known to lack answered writes. When the old owner comes back it gives
            the volume up, puts what only it has aside as a branch, and follows.

              sdnedge store promote vs-disk --api SOCKET
              sdnedge store promote vs-disk --force vs-disk --client $(pidof qemu-system-x86_64) --api SOCKET

            Exit code: 0 it is the owner, 1 it is not.
            """)
        {
            name, force, client, epoch,
        };
        StoreFlags.AddTo(command);
        command.SetAction((parse, cancel) => StoreFlags.AskAsync("sdnedge store promote", parse, async store =>
        {
            string volume = parse.GetValue(name)!;
            store.RequestTimeout = TimeSpan.FromMinutes(10);
            ClientIdentity? writer = parse.GetValue(client) is { } pid ? ClientIdentity.Process(pid, 0) : null;
            VolumeInfo now = await store.PromoteAsync(volume,
                new VolumePromoteRequest(parse.GetValue(force), writer, parse.GetValue(epoch)), cancel);
            Console.WriteLine($"{volume} is owned here under epoch {now.GrantedEpoch}; "
                + (now.Client is { } who ? $"{who} may write"
                    : "nobody may write before a grant: the host's agent gives it, or --client PID"));
            return ExitOk;
        }));
        return command;
    }

    public static Command Resync()
    {
        Argument<string> name = StoreCommand.Name();
        Option<string?> force = Force("where this store is the owner");
        var command = new Command("resync",
            """
            At a replica: a copy of the whole volume is made, whatever the histories say; for a copy that does not vouch for itself. At a
            store that owns the volume while the other one owns it under a higher epoch: it gives the volume up and follows, and what only
            it has goes aside as a branch. 'sdnedge store show VOLUME --follow' at the owner has the progress.

            Exit code: 0 it was begun, 1 it was not.
            """)
        {
            name, force,
        };
        StoreFlags.AddTo(command);
        command.SetAction((parse, cancel) => StoreFlags.AskAsync("sdnedge store resync", parse, async store =>
        {
            string volume = parse.GetValue(name)!;
            VolumeInfo now = await store.ResyncAsync(volume, new VolumeResyncRequest(parse.GetValue(force)), cancel);
            Console.WriteLine(now.Role is OwnerRole.Released
                ? $"{volume} was given up; it follows the other store" : $"a copy of all of {volume} begins when its owner connects");
            return ExitOk;
        }));
        return command;
    }

    public static Command Branch()
    {
        var command = new Command("branch",
            "What was put aside of a volume: records that only this store had when it followed another owner, such as the loser's of a "
            + "split.")
        {
            BranchList(), BranchExport(), BranchDelete(),
        };
        return command;
    }

    private static Command BranchList()
    {
        Argument<string> name = StoreCommand.Name();
        Option<string> output = StoreCommand.Output();
        var command = new Command("list", "The branches of a volume at this store.") { name, output };
        StoreFlags.AddTo(command);
        command.SetAction((parse, cancel) => StoreFlags.AskAsync("sdnedge store branch list", parse, async store =>
        {
            IReadOnlyList<BranchInfo> branches = await store.BranchesAsync(parse.GetValue(name)!, cancel);
            if (parse.GetValue(output) == "json")
            {
                Console.WriteLine(JsonSerializer.Serialize(branches, ApiJson.Indented.For<IReadOnlyList<BranchInfo>>()));
                return ExitOk;
            }

            Table table = new Table().Border(TableBorder.Minimal).AddColumns("branch", "behind sequence", "to sequence", "epoch", "records",
                "written");
            foreach (BranchInfo b in branches)
            {
                table.AddRow(Text(b.Number), Text(b.From.Sequence), Text(b.Last.Sequence), Text(b.Last.Epoch), Text(b.Records),
                    StoreCommand.Size(b.Bytes));
            }

            DemoView.NewConsole().Write(table);
            return ExitOk;
        }));
        return command;
    }

    private static Command BranchExport()
    {
        Argument<string> name = StoreCommand.Name();
        Argument<int> number = Number();
        var file = new Argument<string>("file") { Description = "The image to write; it must not be there yet.", HelpName = "FILE" };
        var command = new Command("export",
            """
            Writes what a branch has as a sparse raw image of the volume's size: the bytes that its records wrote are where they wrote them,
            all else is a hole. What each record did is printed, in order.

            Exit code: 0 it is written, 1 it is not.
            """)
        {
            name, number, file,
        };
        StoreFlags.AddTo(command);
        command.SetAction((parse, cancel) => StoreFlags.AskAsync("sdnedge store branch export", parse, async store =>
        {
            string volume = parse.GetValue(name)!, path = parse.GetValue(file)!, beside = path + ".branch";
            if (File.Exists(path)) throw new ArgumentException($"{path} is there already; write another name");
            VolumeInfo info = await store.VolumeAsync(volume, cancel);
            try
            {
                await using (var to = new FileStream(beside, FileMode.Create, FileAccess.Write))
                    await store.CopyBranchAsync(volume, parse.GetValue(number), to, cancel);
                await using FileStream from = File.OpenRead(beside);
                await using var image = new FileStream(path, FileMode.CreateNew, FileAccess.ReadWrite);
                BranchExporter.Export(from, image, info.SizeBytes, Console.Out);
            }
            finally
            {
                File.Delete(beside);
            }

            return ExitOk;
        }));
        return command;
    }

    private static Command BranchDelete()
    {
        Argument<string> name = StoreCommand.Name();
        Argument<int> number = Number();
        var command = new Command("delete", "Deletes a branch, for good.") { name, number };
        StoreFlags.AddTo(command);
        command.SetAction((parse, cancel) => StoreFlags.AskAsync("sdnedge store branch delete", parse, async store =>
        {
            await store.DeleteBranchAsync(parse.GetValue(name)!, parse.GetValue(number), cancel);
            Console.WriteLine($"branch {Text(parse.GetValue(number))} of {parse.GetValue(name)} is gone");
            return ExitOk;
        }));
        return command;
    }

    private static Option<string?> Force(string when) => new("--force")
    {
        Description = $"Do it {when}: the volume's name, once more.", HelpName = "VOLUME",
    };

    private static Argument<int> Number() => new("number") { Description = "The branch's number.", HelpName = "NUMBER" };

    // Until the replica has everything, as the owner or the replica tells it.
    private static async Task FollowAsync(StoreClient store, string volume, CancellationToken cancel)
        => await ProgressAsync(async task =>
        {
            while (true)
            {
                VolumeInfo info = await store.VolumeAsync(volume, cancel);
                if (info is { Replication: null, Replica: null }) throw new ArgumentException($"{volume} has no replica");
                if (info.Replication is { ReplicaWhole: true } || info.Replica is { Phase: CopyPhase.Following }) return;
                Tell(task, info);
                await Task.Delay(s_look, cancel);
            }
        });

    private static async Task WatchAsync(StoreClient store, string volume, Task until, CancellationToken cancel)
        => await ProgressAsync(async task =>
        {
            while (!until.IsCompleted)
            {
                await Task.WhenAny(until, Task.Delay(s_look, cancel));
                if (!until.IsCompleted) Tell(task, await store.VolumeAsync(volume, cancel));
            }
        });

    private static Task ProgressAsync(Func<ProgressTask, Task> work)
        => DemoView.NewConsole().Progress().AutoClear(true)
            .Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new RemainingTimeColumn())
            .StartAsync(context => work(context.AddTask("the replica")));

    private static void Tell(ProgressTask task, VolumeInfo info)
    {
        (long done, long all) = info switch
        {
            { Replication.Copy: { } copy } => (copy.CopiedBytes, copy.TotalBytes),
            { Replica: { CopyBytes: > 0 } copy } => (copy.CopiedBytes, copy.CopyBytes),
            { Replication: { ReplicaWhole: true } at } => ((long)at.ReplicaDurable, (long)at.Last),
            _ => (0L, 0L),
        };
        bool copies = info is { Replication.Copy: not null } or { Replica.CopyBytes: > 0 };
        task.IsIndeterminate = all == 0;
        (task.MaxValue, task.Value) = (Math.Max(1, all), done);
        task.Description = all == 0 ? "the replica is not connected"
            : copies ? $"copied {StoreCommand.Size(done)} of {StoreCommand.Size(all)}"
            : $"record {Text(done)} of {Text(all)}";
    }

    private static void Print(VolumeInfo info, string output)
    {
        if (output == "json")
        {
            Console.WriteLine(JsonSerializer.Serialize(info, ApiJson.Indented.For<VolumeInfo>()));
            return;
        }

        Console.WriteLine($"{info.Name}: {StoreCommand.Size(info.SizeBytes)}, {Word(info.Role)} under epoch {Text(info.GrantedEpoch)}"
            + (info.Client is { } client ? $", {client} may write" : ""));
        if (info.Replication is { } at)
        {
            Console.WriteLine($"  {Word(at.InForce)}{(at.InSync ? ", in sync" : "")}; the replica is "
                + (!at.Connected ? "not connected" : at.ReplicaWhole ? $"at sequence {Text(at.ReplicaDurable)} of {Text(at.Last)}, "
                    + $"{StoreCommand.Size(at.Lag.Bytes)} and {at.Lag.Seconds.ToString("0.0", CultureInfo.InvariantCulture)} s behind"
                    : "being copied"));
            if (at.Copy is { } copy)
                Console.WriteLine($"  copied {StoreCommand.Size(copy.CopiedBytes)} of {StoreCommand.Size(copy.TotalBytes)}");
            if (at.LetGoThrough is { } gone)
                Console.WriteLine($"  the log was full and has let go records up to {Text(gone)}: what they touched is copied");
            foreach (ReplicationAlarm alarm in at.Alarms) Console.WriteLine($"  alarm: {Word(alarm)}");
        }

        if (info.Replica is { } replica)
        {
            Console.WriteLine($"  {Word(replica.Phase)}, at sequence {Text(replica.Durable.Sequence)}"
                + (replica.LastConsistent is { } kept ? $"; {Text(kept.Sequence)} can be promoted" : "; nothing can be promoted"));
            if (replica.CopyBytes > 0)
                Console.WriteLine($"  copied {StoreCommand.Size(replica.CopiedBytes)} of {StoreCommand.Size(replica.CopyBytes)}");
        }

        foreach (BranchInfo branch in info.Branches)
        {
            Console.WriteLine($"  branch {Text(branch.Number)}: {Text(branch.Records)} records behind sequence "
                + $"{Text(branch.From.Sequence)}, " + StoreCommand.Size(branch.Bytes));
        }
    }

    private static string Word<T>(T value) where T : struct, Enum => JsonNamingPolicy.KebabCaseLower.ConvertName(value.ToString());

    private static string Text(IFormattable value) => value.ToString(null, CultureInfo.InvariantCulture);
}
