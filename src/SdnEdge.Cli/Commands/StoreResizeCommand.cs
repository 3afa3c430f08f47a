using System.CommandLine;
using System.Text.Json;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Storage.Config;

namespace SdnEdge.Cli.Commands;

/// <summary><c>sdnedge store resize</c>: a volume gets larger, while it is served.</summary>
internal static class StoreResizeCommand
{
    private const int ExitOk = 0;

    public static Command Create()
    {
        Argument<string> name = StoreCommand.Name();
        var size = new Argument<string>("size")
        {
            Description = "The size that it is to have, a multiple of 4096 bytes: 16GiB; or how much more: +4GiB.", HelpName = "SIZE",
        };
        var reconnect = new Option<bool>("--reconnect")
        {
            Description = "Disconnect its clients then. A QEMU with reconnect-delay connects again at once, and its requests wait for it.",
        };
        Option<string> output = StoreCommand.Output();
        var command = new Command("resize",
            """
            Makes a volume larger, here and at its replica, while it is served. The new part is zeros and takes no room. A client that is
            connected keeps the size that it was told; one that connects sees the new one. A volume is not made smaller.

              sdnedge store resize vs-disk 16GiB --api SOCKET
              sdnedge store resize vs-disk +4GiB --api SOCKET

            Exit code: 0 it has that size, 1 it has not, and nothing has changed.
            """)
        {
            name, size, reconnect, output,
        };
        StoreFlags.AddTo(command);
        command.SetAction((parse, cancel) => StoreFlags.AskAsync("sdnedge store resize", parse, async store =>
        {
            store.RequestTimeout = Timeout.InfiniteTimeSpan;
            string volume = parse.GetValue(name)!, text = parse.GetValue(size)!;
            bool more = text.StartsWith('+');
            if (StoreConfigLoader.ReadSize(more ? text[1..] : text) is not { } bytes)
                throw new ArgumentException($"'{text}' is not a size; write it as 16GiB, or +4GiB for so much more");
            if (more && await store.VolumeAsync(volume, cancel) is var now)
                bytes = bytes <= long.MaxValue - now.SizeBytes ? now.SizeBytes + bytes
                    : throw new ArgumentException($"'{text}' is more than any volume can have");
            VolumeInfo info = await store.ResizeAsync(volume, new VolumeResizeRequest(bytes, parse.GetValue(reconnect)), cancel);
            if (parse.GetValue(output) == "json")
            {
                Console.WriteLine(JsonSerializer.Serialize(info, ApiJson.Indented.For<VolumeInfo>()));
                return ExitOk;
            }

            Console.WriteLine($"{info.Name} has {StoreCommand.Size(info.SizeBytes)}"
                + (info.Replication is { Connected: false } ? "; its replica is not connected, and gets larger when it is" : ""));
            return ExitOk;
        }));
        return command;
    }
}
