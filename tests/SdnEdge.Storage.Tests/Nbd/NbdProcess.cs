using System.Globalization;
using System.Net;
using System.Runtime.InteropServices;
using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;
using SdnEdge.Storage.Nbd;
using SdnEdge.Storage.Volumes;
using SdnEdge.Web;

namespace SdnEdge.Storage.Tests.Nbd;

/// <summary>
/// An NBD server as a process: <c>nbd [--unix PATH] [--tcp PORT] [--stdin] [--tls CERT KEY CA] [--export NAME] [--read-only] [--spins N]
/// FILE</c>. Without a place to listen at it takes the sockets that it was started with.
/// </summary>
internal static class NbdProcess
{
    public static async Task<int> RunAsync(string[] args)
    {
        List<NbdListen> listen = [];
        string export = "", file = "";
        bool readOnly = false;
        TlsFiles? tls = null;
        int spins = 0;
        for (int i = 0; i < args.Length; i++)
        {
            switch (args[i])
            {
                case "--unix": listen.Add(new NbdUnixListen(args[++i])); break;
                case "--tcp":
                    listen.Add(new NbdTcpListen(new IPEndPoint(IPAddress.Loopback, int.Parse(args[++i], CultureInfo.InvariantCulture))));
                    break;
                case "--stdin": listen.Add(new NbdConnectedListen()); break;
                case "--tls":
                    tls = new TlsFiles(new ApiTcpConfig(IpAddress.Parse("127.0.0.1"), 0, args[i + 1], args[i + 2], args[i + 3]));
                    i += 3;
                    break;
                case "--export": export = args[++i]; break;
                case "--read-only": readOnly = true; break;
                case "--spins": spins = int.Parse(args[++i], CultureInfo.InvariantCulture); break;
                default: file = args[i]; break;
            }
        }

        if (listen.Count == 0) listen.AddRange(InheritedSockets.Listening().Select(descriptor => new NbdInheritedListen(descriptor)));
        using FileDevice device = FileDevice.Open(file, new FileDeviceOptions { ReadOnly = readOnly, Report = Console.Error.WriteLine });
        var options = new NbdServerOptions { Listen = listen, Tls = tls, Spins = spins, Report = Console.Error.WriteLine };
        using var server = new NbdServer(options, new NbdExport(export, device) { Description = Path.GetFileName(file) });
        using var stop = new CancellationTokenSource();
        using PosixSignalRegistration terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
        using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
        server.Bind();
        if (listen.All(place => place is NbdUnixListen or NbdTcpListen)) Console.WriteLine("ready");
        await server.RunAsync(stop.Token);
        return 0;

        void Stop(PosixSignalContext context)
        {
            context.Cancel = true;
            stop.Cancel();
        }
    }
}
