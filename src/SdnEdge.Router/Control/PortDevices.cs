using SdnEdge.Core.Config;
using SdnEdge.Linux;
using SdnEdge.Router.Keeper;

namespace SdnEdge.Router.Control;

/// <summary>
/// The devices of ports. A device is opened before the configuration that names it is committed, so that one that cannot be
/// opened changes nothing; the keeper learns of it when it comes into use.
/// </summary>
/// <param name="open">Opens a port's device; null: a TAP.</param>
/// <param name="keeper">Keeps the devices over a crash; null: there is none.</param>
internal sealed class PortDevices(Func<PortConfig, IFdPort>? open, KeeperLink? keeper)
{
    /// <summary>Opens a port's device. It comes to <see cref="Use"/> or is abandoned.</summary>
    /// <exception cref="IOException">It cannot be opened; the message says why.</exception>
    public IFdPort Open(PortConfig config)
    {
        if (open is not null) return open(config);

        // The data plane is one end of the wire, the kernel's side of the device only the other: it must not speak for itself.
        var options = new TapOptions { Mtu = config.Mtu, DisableKernelIpv6 = true };
        return keeper is not null
            ? keeper.Open(config.Name, config.Device, options, out _)
            : TapPort.Open(config.Name, config.Device, options);
    }

    /// <summary>
    /// The device of a port that is to go, for the port that comes in its place: a device that is open cannot be opened again.
    /// </summary>
    /// <exception cref="IOException">There is no descriptor left.</exception>
    public static IFdPort TakeOver(IFdPort held, PortConfig config) => held is TapPort tap ? tap.Duplicate(config.Name) : held;

    /// <summary>The port is about to be there.</summary>
    public void Use(IFdPort device)
    {
        if (device is TapPort tap) keeper?.Keep(tap);
    }

    /// <summary>
    /// Gives a device the MTU of its port, which it may not have: it was taken over, the port's was changed, or somebody else did. Returns
    /// why it could not, for people; null: it has it.
    /// </summary>
    /// <param name="device">The device.</param>
    /// <param name="mtu">MTU of the port, bytes.</param>
    public static string? Fit(IFdPort device, int mtu)
    {
        if (device is not TapPort tap) return null;
        try
        {
            if (NetDevice.Mtu(tap.Device) != mtu) NetDevice.SetMtu(tap.Device, mtu);
            return null;
        }
        catch (LinuxException e)
        {
            return e.Message;
        }
    }

    /// <summary>Closes a device that came to no use.</summary>
    public void Abandon(IFdPort device)
    {
        if (keeper is not null && device is TapPort tap) keeper.Abandon(tap);
        else device.Dispose();
    }

    /// <summary>Closes the device of a port that is gone.</summary>
    public void Close(IFdPort device)
    {
        if (keeper is not null) keeper.Forget(device);
        else device.Dispose();
    }
}
