using System.CommandLine;
using System.Net;
using SdnEdge.Linux;
using SdnEdge.Storage.Nbd;
using SdnEdge.Storage.Volumes;

namespace SdnEdge.Cli.Commands;

/// <summary><c>sdnedge store serve</c>: one image by NBD, as it is.</summary>
internal static class StoreServeCommand
{
    private const int ExitOk = 0, ExitFailed = 1, ExitBadUse = 2;

    public static Command Create()
    {
        var image = new Argument<string>("image") { Description = "A raw image or a block device.", HelpName = "IMAGE" };
        var name = new Option<string>("--name") { Description = "Name of the export. Default: the empty one.", DefaultValueFactory = _
            => "" };
        var unix = new Option<string?>("--unix") { Description = "Listen at this unix socket, mode 0600.", HelpName = "SOCKET" };
        var tcp = new Option<string?>("--tcp-insecure")
        {
            Description = "Listen at this address without TLS: who reaches it may read and write.", HelpName = "ADDRESS:PORT",
        };
        var standardInput = new Option<bool>("--stdin") { Description = "Serve the one connection that standard input is, as inetd "
            + "starts it." };
        var readOnly = new Option<bool>("--read-only") { Description = "Nobody may write." };
        var command = new Command("serve",
            """
            Serves an image by NBD as it is: no log, no store. Started by systemd, or by nbdcopy and other tools in brackets, it takes the
            sockets that it was started with (LISTEN_FDS).

              sdnedge store serve disk.img --unix disk.sock
              qemu-img info 'nbd+unix:///?socket=disk.sock'
              nbdcopy -- [ sdnedge store serve disk.img ] copy.img

            Exit code: 0 stopped, 1 could not serve, 2 used wrongly.
            """)
        {
            image, name, unix, tcp, standardInput, readOnly,
        };
        command.SetAction(async (parse, cancel) =>
        {
            var listen = new List<NbdListen>();
            if (parse.GetValue(unix) is { } path) listen.Add(new NbdUnixListen(Path.GetFullPath(path)));
            if (parse.GetValue(tcp) is { } address)
            {
                if (!IPEndPoint.TryParse(address, out IPEndPoint? at))
                    return Wrong($"--tcp-insecure '{address}' is not an address with a port; write 127.0.0.1:10809 or \"[::1]:10809\"");
                listen.Add(new NbdTcpListen(at) { IsInsecure = true });
            }

            if (parse.GetValue(standardInput)) listen.Add(new NbdConnectedListen());
            try
            {
                listen.AddRange(InheritedSockets.Listening().Select(d => new NbdInheritedListen(d)));
            }
            catch (Exception e) when (e is FormatException or LinuxException)
            {
                return Wrong(e.Message);
            }

            if (listen.Count == 0)
                return Wrong("nowhere to listen; write --unix SOCKET, --tcp-insecure ADDRESS:PORT or --stdin, or start it with LISTEN_FDS");
            return await ServeAsync(parse.GetValue(image)!, parse.GetValue(name)!, parse.GetValue(readOnly), listen, cancel);
        });
        return EndSignals.TakesItsOwn(command);
    }

    private static int Wrong(string what)
    {
        Console.Error.WriteLine($"sdnedge store serve: {what}");
        return ExitBadUse;
    }

    private static async Task<int> ServeAsync(string image, string name, bool readOnly, List<NbdListen> listen, CancellationToken cancel)
    {
        using var signals = EndSignals.OfDaemon(cancel);
        try
        {
            Action<string> report = Console.Error.WriteLine;
            using FileDevice device = FileDevice.Open(Path.GetFullPath(image), new FileDeviceOptions { ReadOnly = readOnly,
                Report = report });
            using var server = new NbdServer(
                new NbdServerOptions { Listen = listen, Report = report }, new NbdExport(name, device) { IsReadOnly = readOnly });
            await server.RunAsync(signals.Stop);
            return ExitOk;
        }
        catch (OperationCanceledException) when (signals.Stop.IsCancellationRequested)
        {
            return ExitOk;
        }
        catch (Exception e) when (e is IOException or LinuxException or ArgumentException or UnauthorizedAccessException
            or System.Net.Sockets.SocketException)
        {
            Console.Error.WriteLine($"sdnedge store serve: {e.Message}");
            return ExitFailed;
        }
    }
}
