using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Demo.Run;
using SdnEdge.Storage.Nbd;
using SdnEdge.Storage.Volumes;
using Spectre.Console;

namespace SdnEdge.Cli.Commands;

/// <summary><c>sdnedge store mark|marks|unmark|clone</c>: points in time of volumes.</summary>
internal static class StoreMarkCommands
{
    private const int ExitOk = 0, ExitNotKept = 3;

    public static Command Mark()
    {
        var volumes = new Argument<string[]>("volume")
        {
            Description = "The volumes; several are marked at one barrier.", HelpName = "VOLUME", Arity = ArgumentArity.OneOrMore,
        };
        var name = new Option<string>("--name", "-n") { Description = "The mark's name.", HelpName = "NAME", Required = true };
        var group = new Option<string?>("--group")
        {
            Description = "The group's name, kept with the marks. Default with several volumes: the mark's name.", HelpName = "NAME",
        };
        Option<string> output = StoreCommand.Output();
        var command = new Command("mark",
            """
            Keeps what volumes are now, under a name. The mark is a record of the log, so that the replica keeps it, too. Several volumes
            are marked at one barrier: no write of any of them comes between, and all are marked or none.

              sdnedge store mark vs-disk --name before-upgrade --api SOCKET
              sdnedge store mark db-data db-log --name nightly --group db --api SOCKET

            Exit code: 0 it is kept, 1 it is not.
            """)
        {
            volumes, name, group, output,
        };
        StoreFlags.AddTo(command);
        command.SetAction((parse, cancel) => StoreFlags.AskAsync("sdnedge store mark", parse, async store =>
        {
            store.RequestTimeout = Timeout.InfiniteTimeSpan;
            string[] all = parse.GetValue(volumes)!;
            IReadOnlyList<MarkInfo> made = await store.MarkAsync(all[0],
                new MarkRequest(parse.GetValue(name)!, all[1..], parse.GetValue(group)), cancel);
            if (parse.GetValue(output) == "json")
            {
                Console.WriteLine(JsonSerializer.Serialize(made, ApiJson.Indented.For<IReadOnlyList<MarkInfo>>()));
                return ExitOk;
            }

            foreach (MarkInfo mark in made)
                Console.WriteLine($"{mark.Export} is kept, sequence {mark.Point.Sequence}, content root {mark.ContentRoot}");
            return ExitOk;
        }));
        return command;
    }

    public static Command Marks()
    {
        var volume = new Argument<string?>("volume")
        {
            Description = "The volume. Default: all.", HelpName = "VOLUME", Arity = ArgumentArity.ZeroOrOne,
        };
        Option<string> output = StoreCommand.Output();
        var command = new Command("marks", "The marks of volumes, oldest first, and what each keeps.") { volume, output };
        StoreFlags.AddTo(command);
        command.SetAction((parse, cancel) => StoreFlags.AskAsync("sdnedge store marks", parse, async store =>
        {
            var marks = new List<MarkInfo>();
            string[] names = parse.GetValue(volume) is { } one ? [one] : [.. (await store.VolumesAsync(cancel)).Select(v => v.Name)];
            foreach (string name in names) marks.AddRange(await store.MarksAsync(name, cancel));
            if (parse.GetValue(output) == "json")
            {
                Console.WriteLine(JsonSerializer.Serialize<IReadOnlyList<MarkInfo>>(marks,
                    ApiJson.Indented.For<IReadOnlyList<MarkInfo>>()));
                return ExitOk;
            }

            Table table = new Table().Border(TableBorder.Minimal).AddColumns("mark", "made", "group", "sequence", "keeps", "content root");
            foreach (MarkInfo m in marks)
            {
                table.AddRow(Markup.Escape(m.Export), m.At.ToString("u", CultureInfo.InvariantCulture), Markup.Escape(m.Group ?? ""),
                    m.Point.Sequence.ToString(CultureInfo.InvariantCulture), StoreCommand.Size(m.Bytes), m.ContentRoot);
            }

            DemoView.NewConsole().Write(table);
            return ExitOk;
        }));
        return command;
    }

    public static Command Unmark()
    {
        var volumes = new Argument<string[]>("volume")
        {
            Description = "The volumes.", HelpName = "VOLUME", Arity = ArgumentArity.OneOrMore,
        };
        var name = new Option<string>("--name", "-n") { Description = "The mark's name.", HelpName = "NAME", Required = true };
        var command = new Command("unmark",
            """
            Lets a mark go, at this store: what it kept is freed. The other store keeps its own. A mark that a client reads stays.

            Exit code: 0 it is gone, 1 it is not.
            """)
        {
            volumes, name,
        };
        StoreFlags.AddTo(command);
        command.SetAction((parse, cancel) => StoreFlags.AskAsync("sdnedge store unmark", parse, async store =>
        {
            store.RequestTimeout = Timeout.InfiniteTimeSpan;
            foreach (string volume in parse.GetValue(volumes)!)
            {
                await store.UnmarkAsync(volume, parse.GetValue(name)!, cancel);
                Console.WriteLine($"{volume}@{parse.GetValue(name)} is gone");
            }

            return ExitOk;
        }));
        return command;
    }

    public static Command Clone()
    {
        var mark = new Argument<string>("mark") { Description = "The mark.", HelpName = "VOLUME@MARK" };
        var file = new Argument<string>("file") { Description = "A raw image that is made, here.", HelpName = "FILE" };
        var force = new Option<bool>("--force") { Description = "Replace a file that is there." };
        Option<string> output = StoreCommand.Output();
        var command = new Command("clone",
            """
            Copies what a volume was at a mark to a raw image, with holes where it has zeros, while the volume goes on. What is read is
            compared with the content root of the mark; the image is there as a whole, or not at all. Run it where the store's NBD socket
            is.

              sdnedge store clone vs-disk@before-upgrade disk.img --api SOCKET
              sdnedge store import vs-old disk.img --api SOCKET                 a volume of what it was

            Exit code: 0 it is there, 1 it could not be made, 3 what was kept is not what the volume was.
            """)
        {
            mark, file, force, output,
        };
        StoreFlags.AddTo(command);
        command.SetAction((parse, cancel) => StoreFlags.AskAsync("sdnedge store clone", parse, async store =>
        {
            string path = parse.GetValue(file)!, wanted = parse.GetValue(mark)!;
            bool json = parse.GetValue(output) == "json";
            if (wanted.Split('@') is not [{ Length: > 0 } volume, { Length: > 0 } name])
                throw new ArgumentException($"'{wanted}' is not a mark; write VOLUME@MARK, as sdnedge store marks lists them");
            if (File.Exists(path) && !parse.GetValue(force)) throw new IOException($"{path} is there already; write --force to replace it");
            VolumeInfo info = await store.VolumeAsync(volume, cancel);
            IReadOnlyList<MarkInfo> marks = await store.MarksAsync(volume, cancel);
            MarkInfo from = marks.FirstOrDefault(m => m.Name == name) ?? throw new ArgumentException(
                $"volume {volume} has no mark '{name}'; it has {string.Join(", ", marks.Select(m => m.Name).DefaultIfEmpty("none"))}");
            IReadOnlyList<string> exports = (await store.NodeAsync(cancel)).Exports;
            string server = exports.FirstOrDefault(e => e.StartsWith("nbd+unix:", StringComparison.Ordinal))
                ?? exports.FirstOrDefault(e => e.StartsWith("nbd:", StringComparison.Ordinal))
                ?? throw new IOException("the store exports by TLS only; write nbdcopy "
                    + $"'{exports[0]}{from.Export}?tls-certificates=FOLDER' {path}");
            using NbdReader reader = NbdReader.Connect(server, from.Export);
            ulong root = 0, expected = ulong.Parse(from.ContentRoot, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
            MarkCopyProgress last = default;
            await WithProgressAsync(!json && !Console.IsOutputRedirected, from.Export,
                tell => root = MarkCopy.ToFile(reader, info.Id, path, expected, p => tell(last = p), cancel));
            bool good = root == expected;
            if (json)
            {
                Console.WriteLine(JsonSerializer.Serialize(new CloneInfo(from.Export, Path.GetFullPath(path), last.Size, last.Data,
                    from.ContentRoot, good), ApiJson.Indented.For<CloneInfo>()));
            }
            else if (good)
            {
                Console.WriteLine($"{path}: {from.Export}, {StoreCommand.Size(last.Size)}, of which {StoreCommand.Size(last.Data)} are "
                    + $"data; content root {from.ContentRoot} as it was");
            }

            if (good) return ExitOk;
            Console.Error.WriteLine($"sdnedge store clone: {from.Export} is not what the volume was: content root {root:x16}, not "
                + $"{from.ContentRoot}; {path} was not made. sdnedge store marks lists others.");
            return ExitNotKept;
        }));
        return command;
    }

    private static async Task WithProgressAsync(bool shown, string what, Action<Action<MarkCopyProgress>> work)
    {
        if (!shown)
        {
            await Task.Run(() => work(_ => { }));
            return;
        }

        await AnsiConsole.Progress().AutoClear(true)
            .Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new TransferSpeedColumn(),
                new RemainingTimeColumn())
            .StartAsync(async context =>
            {
                ProgressTask bar = context.AddTask(Markup.Escape(what));
                await Task.Run(() => work(p =>
                {
                    bar.MaxValue = Math.Max(1, p.Size);
                    bar.Value = p.Done;
                }));
            });
    }
}
