using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using SdnEdge.Core.Bgp;
using SdnEdge.Core.Wire;
using SdnEdge.Router.Tests.Bgp;
using SdnEdge.Testing;

namespace SdnEdge.Router.Tests.Peers;

/// <summary>
/// Sessions with one peer, and the questions asked of them. PE a is 10.255.0.1, PE b 10.255.0.2, another AS 10.255.0.5;
/// everything on the wire is recorded.
/// </summary>
internal sealed class PeerSession : IDisposable
{
    public static readonly IpPrefix Server4 = IpPrefix.Parse("10.1.1.10/32");
    public static readonly IpPrefix Server6 = IpPrefix.Parse("fd00:1:1::10/128");
    public static readonly IpPrefix Foreign4 = IpPrefix.Parse("10.5.5.0/24");

    private readonly Process _tcpdump;

    public PeerSession(string make, PeerOptions? options = null, Func<BgpPeerSettings, BgpPeerSettings>? withA = null,
        List<Socket>? socketsOfA = null)
    {
        Rig = new PeerRig();
        try
        {
            Capture = Path.Combine(Rig.Folder, "session.pcap");

            // In immediate mode each frame takes a slot of the snapshot's length: the default 2 MiB are seven of them, and a busy
            // machine loses frames. 64 MiB are a thousand.
            _tcpdump = Rig.Start(Rig.Ours, "tcpdump", "-i", "veth0", "-U", "--immediate-mode", "-s", "65535", "-B", "65536", "-Z", "root",
                "-w", Capture, "tcp port 179");
            PeerRig.Await(() => File.Exists(Capture) ? "up" : Rig.Said, t => t == "up", "tcpdump is up");
            A = Rig.AddSpeaker(1, withA, sockets: socketsOfA);
            Peer = PeerDaemon.Make(make, Rig, options);
            Peer.Start();
        }
        catch
        {
            Rig.Dispose();
            throw;
        }
    }

    public PeerRig Rig { get; }

    public PeerDaemon Peer { get; }

    public SpeakerHost A { get; }

    /// <summary>What passes the wire, so far.</summary>
    public string Capture { get; }

    public static BgpPeer SessionOf(SpeakerHost host) => host.Ask(() => host.Speaker.Engine.Peers.Single());

    public static void Advertise(SpeakerHost host, uint localPref, params IpPrefix[] prefixes) => host.Do(() =>
    {
        foreach (IpPrefix prefix in prefixes) host.Speaker.Advertise(prefix, localPref);
    });

    /// <summary>Waits for what the peer's table says of a prefix.</summary>
    public void Await(IpPrefix prefix, Func<IReadOnlyList<PeerPath>, bool> right, string what, int seconds = Patience.Seconds)
    {
        IReadOnlyList<PeerPath> paths = [];
        PeerRig.Await(
            () => string.Join("; ", paths = Peer.Paths(prefix)),
            _ => right(paths),
            $"{prefix}: {what}\n{Peer}\n", seconds);
    }

    /// <summary>Waits for BGP messages on the wire.</summary>
    public void AwaitOnWire(Func<IReadOnlyList<CapturedMessage>, bool> right, string what)
        => AwaitCapture(() => right(BgpCapture.Messages(Capture)), what);

    /// <summary>Waits for connections, also failed ones.</summary>
    public void AwaitStreams(Func<IReadOnlyList<TcpStream>, bool> right, string what)
        => AwaitCapture(() => right(BgpCapture.Streams(Capture)), what);

    private void AwaitCapture(Func<bool> right, string what) => PeerRig.Await(
        () =>
        {
            try
            {
                return right() ? "seen" : "not seen";
            }
            catch (InvalidDataException e)
            {
                // The last frame is being written, or a segment overtook another.
                return e.Message;
            }
        },
        text => text == "seen", what);

    /// <summary>Ends the recording; what it holds does not change any more.</summary>
    public void StopCapture()
    {
        PeerRig.Run("kill", "-TERM", _tcpdump.Id.ToString(CultureInfo.InvariantCulture));
        PeerRig.Await(() => _tcpdump.HasExited ? "ended" : "runs", t => t == "ended", "tcpdump has ended");
    }

    public void Dispose() => Rig.Dispose();
}
